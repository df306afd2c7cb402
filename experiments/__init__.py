from resnet_jax.runtime import program

program.begin()  # before the imports of a command, which take seconds

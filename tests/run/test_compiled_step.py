"""What the compiled training step is, on eight forced devices: invariants of its program that need no clock."""

import re
from dataclasses import replace
from importlib import import_module
from math import prod
from typing import Any

import jax
import jax.numpy as jnp
import pytest

from resnet_jax import create_model
from resnet_jax.run import step as step_module
from resnet_jax.run import validate
from resnet_jax.run.build import build_run
from resnet_jax.run.state import first_state
from resnet_jax.run.step import build_train_step
from resnet_jax.training.metrics import zero_sums
from tests.run.test_train import TOY

run_module = import_module("resnet_jax.run.train")  # `resnet_jax.run` hands on the function of that name

COLLECTIVE = re.compile(
    r"= (?P<shapes>.*?) (?P<name>all-gather|all-reduce|all-to-all|collective-permute|reduce-scatter)(-start)?\("
)


@pytest.fixture(scope="module", params=[0, 8], ids=["whole batch normalized", "eight examples normalized"])
def step(request):
    """The normalized group's size, the state, and the compiled step."""
    run = build_run(replace(TOY, bn_group_size=request.param))
    state = first_state(run)
    batch = next(iter(run.data.train.batches(0, 1)))
    return request.param, state, build_train_step(run).lower(state, jax.jit(zero_sums)(), batch).compile()


def exchanged(compiled) -> list[tuple[str, int]]:
    """The collectives of a program: their name, and how many values each takes."""
    found = []
    for match in COLLECTIVE.finditer(compiled.as_text()):
        shapes = re.findall(r"[a-z]\w*\[([\d,]*)\]", match["shapes"])
        found.append((match["name"], sum(prod(int(n) for n in shape.split(",") if n) for shape in shapes)))
    return found


@pytest.mark.slow
def test_the_devices_exchange_gradients_sums_and_the_statistics_that_were_asked_for(step):
    group_size, state, compiled = step
    collectives = exchanged(compiled)
    assert {name for name, _ in collectives} == {"all-reduce"}
    gradients = sum(leaf.size for leaf in jax.tree.leaves(state.params))
    statistics = sum(leaf.size for leaf in jax.tree.leaves(state.batch_stats))
    values = sum(size for _, size in collectives)
    # Loss, hits, count and the flag of what is not finite: single values.
    assert values >= gradients
    if group_size:  # each device's groups are its own; the running statistics are averaged over the groups
        assert values <= gradients + statistics + 64
    else:  # mean and variance, and what flows back through them
        assert gradients + statistics < values <= gradients + 3 * statistics + 64


def program_of(config, tmp_path) -> Any:
    run = build_run(config)
    batch = next(iter(run.data.train.batches(0, 1)))
    return build_train_step(run).lower(first_state(run), jax.jit(zero_sums)(), batch)


@pytest.mark.slow
def test_runs_that_differ_in_their_seed_have_one_program(tmp_path):
    one, other = (program_of(replace(TOY, seed=seed, flip="random"), tmp_path).as_text() for seed in (0, 1))
    assert one == other


@pytest.mark.slow
@pytest.mark.parametrize(("lowerings", "kind"), [("", "bf16"), ("float32_gradients", "f32")])
def test_devices_sum_the_gradients_of_bfloat16_in_the_type_that_is_asked_for(lowerings, kind, tmp_path, monkeypatch):
    monkeypatch.setenv("RESNET_JAX_FORMS", lowerings)
    lowered = program_of(replace(TOY, dtype="bfloat16"), tmp_path)
    # Of a CPU's final program, all sums are float32: it has no convolution of bfloat16.
    lowered.compile({"xla_dump_to": str(tmp_path), "xla_dump_hlo_pass_re": "spmd-partitioning"})
    (partitioned,) = tmp_path.glob("*jit_step*after_spmd-partitioning*.txt")
    summed = {"bf16": 0, "f32": 0}
    for match in COLLECTIVE.finditer(partitioned.read_text()):
        for name, shape in re.findall(r"(bf16|f32)\[([\d,]*)\]", match["shapes"]):
            summed[name] += prod(int(n) for n in shape.split(",") if n)
    kernels = sum(leaf.size for leaf in jax.tree.leaves(first_state(build_run(TOY)).params) if leaf.ndim == 4)
    assert summed[kind] >= kernels
    assert (summed["bf16"] > 0) == (kind == "bf16")


def test_a_deterministic_run_asks_the_compiler_for_it(tmp_path, monkeypatch):
    asked = []
    jit = jax.jit
    monkeypatch.setattr(jax, "jit", lambda *args, **options: asked.append(options) or jit(*args, **options))
    run = build_run(replace(TOY, deterministic=True))
    build_train_step(run)
    assert asked[-1]["compiler_options"] == {"xla_gpu_deterministic_ops": True}


@pytest.mark.slow
def test_the_state_is_updated_in_place(step):
    _, state, compiled = step
    held = sum(leaf.nbytes for leaf in jax.tree.leaves(state))
    assert compiled.memory_analysis().alias_size_in_bytes >= held


@pytest.mark.slow
def test_steps_and_evaluations_compile_once(tmp_path, monkeypatch):
    programs = []

    def kept(build):
        return lambda *args, **options: programs.append(build(*args, **options)) or programs[-1]

    monkeypatch.setattr(step_module, "build_train_step", kept(step_module.build_train_step))
    monkeypatch.setattr(validate, "jit_eval_step", kept(validate.jit_eval_step))
    run_module.train(replace(TOY, steps=6, eval_every=2, log_every=2, workdir=str(tmp_path)))
    assert [program._cache_size() for program in programs] == [1, 1]


@pytest.mark.parametrize("backend", ["cpu", "gpu"])
def test_in_bfloat16_the_backward_pass_is_left_no_float32_activation(backend, monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: backend)  # for the form of the convolution; nothing runs
    model: Any = create_model("resnet50", num_classes=10, dtype=jnp.bfloat16).clone(stage_sizes=(1, 2), width=8)
    images = jnp.zeros((4, 64, 64, 3), jnp.bfloat16)
    variables = jax.eval_shape(model.init, jax.random.key(0), images)

    def kept(variables):
        def loss(params):
            both = {**variables, "params": params}
            return model.apply(both, images, train=True, mutable=["batch_stats"])[0].sum()

        return jax.vjp(loss, variables["params"])[1]

    activations = [leaf for leaf in jax.tree.leaves(jax.eval_shape(kept, variables)) if leaf.ndim == 4]
    activations = [leaf for leaf in activations if leaf.shape[0] == 4 and leaf.dtype != bool]
    assert len(activations) > 10
    # The places of the maxima in the windows of a pooling are a byte each.
    assert {str(leaf.dtype) for leaf in activations} - {"uint8"} == {"bfloat16"}

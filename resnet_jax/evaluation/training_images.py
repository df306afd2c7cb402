"""The training images of a run: where they lay in the training, or in another folder that holds the same ones."""

from collections.abc import Callable

from resnet_jax.data.sources.source import ArraySource, Source, example_digest
from resnet_jax.errors import InputError
from resnet_jax.evaluation.image_set import place_of
from resnet_jax.inference.trained import Trained


def open_where_they_lie(trained: Trained, data_dir: str, open_folder: Callable[[str], Source]) -> tuple[str, Source]:
    """Open the training images of a run; where they cannot be read, those of another folder if they are the same.

    Args:
        trained: the network of the run.
        data_dir: the other folder; "" for none.
        open_folder: folder -> the training images in it.

    Returns:
        (the folder, the images).

    Raises:
        InputError: they cannot be read, and the other folder does not hold them.
    """
    run = trained.run
    try:
        return run.data_dir, open_folder(run.data_dir)
    except InputError:
        if not data_dir or place_of(run.dataset, data_dir) == place_of(run.dataset, run.data_dir):
            raise
    source, known = open_folder(data_dir), trained.facts.get("train_examples")
    # The digest of images in memory is of the size that they were trained at.
    if known is not None and not isinstance(source, ArraySource) and example_digest(source) != known:
        raise InputError(f"the training images in {run.data_dir} are gone, and {data_dir} has others; put them back")
    return data_dir, source

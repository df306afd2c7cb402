"""Lines on the training images that cannot be read."""

from collections.abc import Iterable, Iterator

from resnet_jax.runtime.batch import Batch
from resnet_jax.training.progress import say


def report_skipped(batches: Iterable[tuple[int, Batch]], skipped: set[str]) -> Iterator[tuple[int, Batch]]:
    """Yield the batches, and print the name of every unreadable image once.

    Args:
        batches: (steps done after it, batch); a batch may hold messages under "skipped", which are removed from it.
        skipped: messages so far; new ones are added.
    """
    for number, batch in batches:
        for problem in batch.pop("skipped", ()):
            if problem not in skipped:
                skipped.add(problem)
                say(f"skipped an image that cannot be read, {len(skipped)} so far: {problem}")
        yield number, batch

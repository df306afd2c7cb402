"""A check of all images of a source before a run, by the headers and the ends of their files."""

import os
from pathlib import Path
from typing import Any

import numpy as np

from resnet_jax.data.decode import UnreadableImage, decode_image, decoded_size
from resnet_jax.data.prefetch import read_pieces
from resnet_jax.data.sources.folder import FolderSource
from resnet_jax.data.sources.source import ArraySource, Source
from resnet_jax.errors import InputError

HEADER, TAIL = 2**16, 12  # bytes; the metadata of most JPEGs fit in the header
CHUNK = 256  # images that are checked as one piece of work
NAMED = 5  # damaged images in an error

# How a whole file begins and ends, by format. What does not is decoded, which decides.
_WHOLE = ((b"\xff\xd8", b"\xff\xd9"), (b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82"))


def check_file_headers(source: Source, num_workers: int) -> None:
    """Check that every image of a source has a valid header, and its end where the format marks one.

    Damage between them is found by decoding alone. Of image files in folders, 64 KiB each are read.

    Args:
        source: the examples.
        num_workers: processes that read; 0 for threads of this one.

    Raises:
        InputError: images are damaged, with the names of the first; or a worker process died.
    """
    if isinstance(source, ArraySource):
        return
    problems = [problem for part in read_pieces(_problems, source, CHUNK, num_workers) for problem in part["problems"]]
    if problems:
        count = f"{len(problems)} of {len(source)} images cannot be read: " if problems[1:] else ""
        more = f"; and {len(problems) - NAMED} more" if problems[NAMED:] else ""
        raise InputError(count + "; ".join(problems[:NAMED]) + more)


def _problems(source: Source, numbers: range) -> dict[str, Any]:
    """Return what is wrong with some of the images."""
    return {"problems": [problem for number in numbers if (problem := _problem(source, number))]}


def _problem(source: Source, index: int) -> str | None:
    """Return what is wrong with an image, None where its header and end are valid."""
    try:
        if isinstance(source, FolderSource) and _ends_are_whole(source.path(index)):
            return None
        image, _, name = source[index]
        if not isinstance(image, np.ndarray):
            whole_size(image, name)
    except UnreadableImage as error:
        return str(error)
    return None


def whole_size(data: bytes, name: str) -> tuple[int, int]:
    """Return height and width of an image file whose header and end are valid.

    Raises:
        UnreadableImage: it is damaged.
    """
    size = decoded_size(data, name)
    if not _is_whole(data[:TAIL], data[-TAIL:]):
        decode_image(data, name)
    return size


def _ends_are_whole(path: Path) -> bool:
    """Return whether a JPEG or PNG file has a valid header and its end; False where the whole file has to be read."""
    try:
        with path.open("rb") as file:
            header = file.read(HEADER)
            file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL))
            tail = file.read()
        if not header.startswith(tuple(start for start, _ in _WHOLE)) or not _is_whole(header, tail):
            return False
        decoded_size(header, str(path))
    except (OSError, UnreadableImage):
        return False
    return True


def _is_whole(header: bytes, tail: bytes) -> bool:
    """Return whether a file ends as its format does; True of formats without a mark."""
    return all(tail.endswith(end) for start, end in _WHOLE if header.startswith(start))

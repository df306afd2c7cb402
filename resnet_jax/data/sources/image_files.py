"""Image files in a folder and its sub-folders, with everything else counted."""

import errno
import os
from collections import Counter
from pathlib import Path

from PIL import Image

from resnet_jax.data.decode import FORMATS, MULTI_PICTURE
from resnet_jax.errors import InputError

# Of the files that are not read, endings by name; more are summed up.
_NAMED_ENDINGS = 6


def image_extensions() -> frozenset[str]:
    """Return the file name extensions of the formats that `decode_image` reads, in lower case, with their dot."""
    known = Image.registered_extensions().items()
    return frozenset(extension for extension, kind in known if kind in (*FORMATS, MULTI_PICTURE))


def images_in(folder: Path, extensions: frozenset[str], unread: Counter[str], inside: Path | None) -> list[str]:
    """Return the image files of a folder, in torchvision's order: by sub-folder, then by name.

    Args:
        folder: of one class.
        extensions: of images, as `image_extensions`.
        unread: counts the other files by ending; is added to.
        inside: folder that links must not leave; None allows all.

    Returns:
        Paths relative to `folder`.

    Raises:
        InputError: a folder cannot be read, or a link leaves `inside` or leads back to itself.
    """
    found: dict[str, list[str]] = {}
    # Each sub-folder with the real paths of those around it, in which a link must not end.
    todo: list[tuple[str, tuple[str, ...]]] = [("", (os.path.realpath(folder),))]
    while todo:
        part, around = todo.pop()
        names = found.setdefault(part, [])
        for entry in listed(folder / part):
            path = f"{part}/{entry.name}" if part else entry.name
            if entry.is_symlink():
                refuse_escape(inside, Path(entry.path))
            if entry.is_dir():
                real = os.path.realpath(entry.path)
                if real in around:
                    raise InputError(f"{entry.path} is a link to {real}, which contains it; remove the link")
                todo.append((path, (*around, real)))
            elif not entry.is_file():
                unread["broken links"] += entry.is_symlink()
            elif (ending := os.path.splitext(entry.name)[1].lower()) in extensions:
                names.append(entry.name)
            else:
                unread[ending or "without an ending"] += 1
    return [f"{part}/{name}" if part else name for part in sorted(found) for name in sorted(found[part])]


def listed(folder: Path) -> list[os.DirEntry]:
    """Return the entries of a folder that are not hidden.

    Raises:
        InputError: it cannot be read.
    """
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if not entry.name.startswith(".")]
    except OSError as error:
        raise InputError(f"{folder} cannot be read ({error.strerror}); make it readable, or remove it") from error


def refuse_escape(inside: Path | None, path: Path) -> None:
    """Refuse a path that, links resolved, lies outside a folder: a data set must not reach other files.

    Raises:
        InputError: it does, or it is a link to itself.
    """
    try:
        target = os.path.realpath(path, strict=True)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise InputError(f"{path} is a link to itself; remove it") from error
        target = os.path.realpath(path)
    if inside is not None and not Path(target).is_relative_to(os.path.realpath(inside)):
        raise InputError(
            f"{path} is a link out of {inside}, to {target}; copy the data into {inside}, or allow it, --links_out"
        )


def unread_line(unread: Counter[str]) -> str:
    """Return "5 files are not read: 3 .heic, …"; empty for none."""
    if not unread:
        return ""
    kinds = [f"{count:,} {ending}" for ending, count in unread.most_common(_NAMED_ENDINGS)]
    if rest := unread.total() - sum(count for _, count in unread.most_common(_NAMED_ENDINGS)):
        kinds.append(f"{rest:,} with other endings")
    remedy = "; convert .heic to JPEG" if unread.keys() & {".heic", ".heif"} else ""
    return f"{unread.total():,} files are not read: {', '.join(kinds)}{remedy}"

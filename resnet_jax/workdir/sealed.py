"""JSON objects that carry a digest of themselves, so that an altered one is noticed."""

import hashlib
import json
from pathlib import Path
from typing import Any

from resnet_jax.errors import InputError
from resnet_jax.files.atomic import write_atomically

DIGEST = "digest"


def digest_of(value: Any) -> str:
    """Return sixteen hexadecimal digits that stand for a JSON value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def seal(record: dict[str, Any]) -> dict[str, Any]:
    """Return the record with its digest."""
    plain = json.loads(json.dumps(record))  # as it will be read: tuples are lists, keys are text
    return plain | {DIGEST: digest_of(plain)}


def unseal(sealed: dict[str, Any]) -> dict[str, Any]:
    """Return the record without its digest; one that never had a digest is returned as it is.

    Raises:
        ValueError: it is not an object, or not the one that was sealed.
    """
    if not isinstance(sealed, dict):
        raise ValueError("it is not a JSON object")
    record = {name: value for name, value in sealed.items() if name != DIGEST}
    if DIGEST in sealed and sealed[DIGEST] != digest_of(record):
        raise ValueError("its content does not match its digest")
    for name in sealed if DIGEST not in sealed else ():
        if sealed[name] == digest_of({other: value for other, value in sealed.items() if other != name}):
            raise ValueError(f"its digest is named {name!r}")
    return record


def write_sealed(path: Path, record: dict[str, Any]) -> None:
    """Write or replace a JSON file with its digest.

    Raises:
        InputError: it cannot be written.
    """
    try:
        write_atomically(path, json.dumps(seal(record), indent=2) + "\n")
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror}); make room, or name another folder") from error


def read_sealed(path: Path, remedy: str) -> dict[str, Any]:
    """Return the record in a file.

    Args:
        path: of the file.
        remedy: what to do with a damaged one, for the error.

    Raises:
        InputError: it cannot be read, is cut off, or is not as it was written.
        FileNotFoundError: there is none.
    """
    try:
        return unseal(json.loads(path.read_text("utf-8")))
    except FileNotFoundError:
        raise
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror})") from error
    except ValueError as error:  # UnicodeDecodeError and JSONDecodeError too
        raise InputError(f"{path} is damaged ({error}); {remedy}") from error

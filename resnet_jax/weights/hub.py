"""Weights from the Hugging Face hub."""

import contextlib
import hashlib
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from resnet_jax.errors import InputError
from resnet_jax.weights import image_config
from resnet_jax.weights.formats import PRETRAINED

FILE = "model.safetensors"

TRIES = 2  # for the same bytes; the library itself makes six, with a line about each
TIMEOUT = 10  # seconds


def download(hub_id: str) -> Path:
    """Fetch the weights of a hub id such as "timm/resnet50.tv_in1k" into the hub's cache, unless they are there.

    Returns:
        Path of the file in the cache.

    Raises:
        InputError: they cannot be fetched, are not what the hub announces, or the extra `pretrained` is not installed.
    """
    with _in_one_line(hub_id, f"bring {FILE} from https://huggingface.co/{hub_id} and give its path"):
        path, announced = _fetch(hub_id, FILE)
    # A large file's tag is its SHA-256.
    if re.fullmatch("[0-9a-f]{64}", announced):
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest != announced:
            path.resolve().unlink()  # or the cache would give it again
            raise InputError(f"{hub_id}: {FILE} does not have the SHA-256 that the hub announces; fetch it again")
    return path


def download_config(hub_id: str, folder: Path) -> None:
    """Fetch the file that tells the preprocessing into the folder of weights, where the hub has one.

    Which of the files it is depends on the library that wrote them: transformers has one of each name.

    Raises:
        InputError: the hub cannot be asked for it, so that the preprocessing would be a guess.
    """
    for name in image_config.FILES:
        if not (folder / name).is_file():
            source = f"https://huggingface.co/{hub_id}"
            remedy = f"bring {FILE} and {name}, if any, from {source}, and give the path of the former"
            with _in_one_line(f"{hub_id}: {name}", remedy), contextlib.suppress(_AbsentError):
                _fetch(hub_id, name)
        with contextlib.suppress(InputError):  # which is raised where the file is needed
            if image_config.preprocessing_beside(folder):
                return


class _AbsentError(Exception):
    """The hub has no such file."""


@contextlib.contextmanager
def _in_one_line(what: str, remedy: str) -> Iterator[None]:
    """Turn every error of the hub's library into an InputError."""
    try:
        yield
    except ImportError:
        raise InputError(f"{what}: the hub needs the extra `pretrained`: {PRETRAINED}") from None
    except Exception as error:  # no network, no such repository, no such file, a proxy: one kind of exception each
        raise InputError(
            f"{what}: cannot be fetched from the hub ({_reason(error)}); where there is no network, {remedy}"
        ) from error


def _reason(error: Exception) -> str:
    return str(error).strip().split("\n")[0] or type(error).__name__


def _fetch(hub_id: str, name: str) -> tuple[Path, str]:
    """Return a file's path in the cache and the tag that the hub announces, or raise one of many errors."""
    from huggingface_hub import (
        _CACHED_NO_EXIST,
        get_hf_file_metadata,
        hf_hub_download,
        hf_hub_url,
        try_to_load_from_cache,
    )

    with _few_tries():
        try:
            # The library itself makes seven tries where there is no network, the last of a minute.
            announced = get_hf_file_metadata(hf_hub_url(hub_id, name), timeout=TIMEOUT).etag or ""
        except Exception as error:
            status = getattr(getattr(error, "response", None), "status_code", 500)
            if status == 404:
                # This asks once more, and notes in the cache that there is none, which then holds without a network.
                with contextlib.suppress(Exception):
                    hf_hub_download(hub_id, name, etag_timeout=TIMEOUT)
                raise _AbsentError(str(error)) from error
            cached, refused = try_to_load_from_cache(hub_id, name), status < 500
            if cached is _CACHED_NO_EXIST and not refused:
                raise _AbsentError(f"no {name} when the hub was last asked") from error
            if refused or not isinstance(cached, str):
                raise
            return Path(cached), Path(cached).resolve().name
        return Path(hf_hub_download(hub_id, name, etag_timeout=TIMEOUT)), announced


@contextlib.contextmanager
def _few_tries() -> Iterator[None]:
    """Let the hub's library ask for the same bytes a few times only, without a word."""
    requests: Counter[tuple[str, str, str]] = Counter()

    def count(request: Any) -> None:
        key = (request.method, str(request.url).partition("?")[0], request.headers.get("range", ""))
        requests[key] += 1
        if requests[key] > TRIES:
            raise ConnectionError(f"the download stalled or broke off {TRIES} times")

    from huggingface_hub.utils import get_session, logging

    verbosity = logging.get_verbosity()
    client = get_session()
    hooks = client.event_hooks
    logging.set_verbosity_error()
    client.event_hooks = {**hooks, "request": [*hooks["request"], count]}
    try:
        yield
    finally:
        client.event_hooks = hooks
        logging.set_verbosity(verbosity)


def upload(hub_id: str, folder: Path, *, private: bool = False) -> str:
    """Upload a folder to the hub as one commit, to a repository that is created where it does not exist.

    Args:
        hub_id: USER/NAME; the user's token is that of `hf auth login`, or HF_TOKEN.
        folder: its files go to the repository's top.
        private: create a repository that others do not see.

    Returns:
        Address of the commit.

    Raises:
        InputError: the extra `pretrained` is not installed, or the hub cannot be reached or refuses.
    """
    try:
        from huggingface_hub import HfApi
    except ImportError:
        raise InputError(f"{hub_id}: the hub needs the extra `pretrained`: {PRETRAINED}") from None
    hub = HfApi()
    try:
        hub.create_repo(hub_id, private=private, exist_ok=True)
        if private and not hub.repo_info(hub_id).private:
            raise InputError(f"{hub_id} exists and is public; nothing was uploaded: name another, or make it private")
        commit = hub.upload_folder(repo_id=hub_id, folder_path=folder, commit_message=f"Publish {hub_id}")
    except InputError:
        raise
    except Exception as error:  # no token, no network, no right: one kind of exception each
        raise InputError(
            f"{hub_id}: the hub did not take the upload ({_reason(error)}); log in with `hf auth login` and repeat "
            f"`{upload_command(hub_id, folder, private=private)}`: the folder is complete"
        ) from error
    return commit.commit_url


def upload_command(hub_id: str, folder: Path, *, private: bool) -> str:
    """Return the command by which the hub's own tool uploads a folder, to a public repository unless it is told."""
    return f"hf upload {hub_id} {folder}" + " --private" * private

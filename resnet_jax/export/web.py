"""A page that classifies pictures in a browser: the network, onnxruntime-web's files and one script."""

import json
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from resnet_jax.errors import InputError
from resnet_jax.export.facts import describe
from resnet_jax.inference.trained import Trained

PAGE = Path(__file__).with_name("templates")
PACKAGE = "onnxruntime-web@1.30.0"
PAGE_FILES = ("index.html", "classify.js", "network.json")
RUNTIME = ("ort.wasm.min.js", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")


def write_web_page(trained: Trained, folder: Path, runtime: str | Path) -> None:
    """Write the page, its script, the description of the network and onnxruntime-web's files into a folder.

    Args:
        trained: the network; its file, network.onnx, is there already.
        folder: of the page.
        runtime: folder of onnxruntime-web's package; "" fetches it with npm.

    Raises:
        InputError: the package cannot be fetched, or the folder does not hold it.
    """
    page, script, description = PAGE_FILES
    for name in (page, script):
        shutil.copy(PAGE / name, folder)
    (folder / description).write_text(json.dumps(describe(trained, normalized_inside=True), indent=2), "utf-8")
    (folder / "onnxruntime").mkdir()
    with tempfile.TemporaryDirectory() as downloads:
        source = Path(runtime) if runtime else fetch_runtime(Path(downloads))
        for name in RUNTIME:
            found = next((path for path in (source / "dist" / name, source / name) if path.is_file()), None)
            if found is None:
                raise InputError(f"--onnxruntime_web={runtime}: there is no {name} in it; it is npm's {PACKAGE}")
            shutil.copy(found, folder / "onnxruntime")


def fetch_runtime(folder: Path) -> Path:
    """Fetch onnxruntime-web from npm's registry into a folder; return where its files are.

    Raises:
        InputError: npm is not installed, or cannot fetch it.
    """
    remedy = f"bring the package {PACKAGE} from npm, and name its folder, --onnxruntime_web=FOLDER"
    try:
        command = ["npm", "pack", "--silent", PACKAGE]
        ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    except OSError:
        raise InputError(f"--to=web fetches onnxruntime-web with npm, which is not installed; {remedy}") from None
    except subprocess.TimeoutExpired:
        raise InputError(f"--to=web: npm did not answer within five minutes; {remedy}") from None
    archives = list(folder.glob("*.tgz"))
    if ended.returncode or not archives:
        reason = " ".join(ended.stderr.split())[:200] or "no reason given"
        raise InputError(f"--to=web: npm could not fetch {PACKAGE} ({reason}); {remedy}")
    try:
        with tarfile.open(archives[0]) as archive:
            archive.extractall(folder, filter="data")
    except tarfile.TarError as error:
        raise InputError(f"--to=web: npm brought a damaged archive ({error}); {remedy}") from error
    return folder / "package"

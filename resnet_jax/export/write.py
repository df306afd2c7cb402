"""Export of a trained network to a file, which is read again and compared before it gets its name."""

import json
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np

from resnet_jax.data.notices import print_notice
from resnet_jax.errors import InputError
from resnet_jax.export.checks import Format, check_options, check_outputs, check_values, companions, format_of
from resnet_jax.export.compare import Exported, Trial, build_trial, check_logits, filled, resized_trial, written
from resnet_jax.export.facts import describe, public_source
from resnet_jax.export.pictures import calibration_pictures, labeled_pictures
from resnet_jax.export.stablehlo import loader, run_program, to_stablehlo
from resnet_jax.export.web import PAGE_FILES, write_web_page
from resnet_jax.inference.convert import write_trained
from resnet_jax.inference.trained import Trained
from resnet_jax.weights.formats import read_file, write_tensors
from resnet_jax.weights.pretrained import load_pretrained

CALIBRATION, VALIDATION = 128, 1000  # pictures, at most


def export(
    trained: Trained,
    out: str | Path,
    to: Format | None = None,
    *,
    size: Sequence[int] = (),
    with_preprocessing: bool = False,
    half: bool = False,
    int8: bool = False,
    max_drop: float = 0.01,
    beside: bool = False,
    onnxruntime_web: str | Path = "",
    dataset: str = "",
    data_dir: str = "",
    num_pictures: int = 16,
) -> Exported:
    """Write a network to a file that runs without this package.

    Args:
        trained: the network.
        out: the file; of "web" a new folder.
        to: its format; None is what its name ends with.
        size: height and width of the images, pixels; empty is the network's own.
        with_preprocessing: normalize in the network, which then takes pictures as uint8 [B,H,W,3].
        half: store the arrays of an ONNX file in float16; the computation remains in float32.
        int8: compute an ONNX file in 8-bit integers, whose ranges come from CALIBRATION training pictures.
        max_drop: the most top-1, a fraction, that 8-bit integers may lose on VALIDATION validation pictures.
        beside: leave the arrays of a StableHLO file in a .safetensors file beside it.
        onnxruntime_web: folder of that package, for "web"; "" fetches it with npm.
        dataset: set of the pictures to compare on, any that training takes; "" is the run's own validation set, or
            bundled digits of a network that is not a run's.
        data_dir: folder of their data; "" is the run's own.
        num_pictures: how many are compared.

    Raises:
        InputError: the file cannot be written, the network has something that the format lacks, a package is missing,
            or the written file does not compute what the network does, or loses more than `max_drop`.
    """
    out = Path(out)
    chosen = format_of(out, to)
    check_options(
        chosen,
        {
            "with_preprocessing": with_preprocessing,
            "half": half,
            "int8": int8,
            "beside": beside,
            "onnxruntime_web": onnxruntime_web,
            "dataset": dataset,
            "data_dir": data_dir,
        },
    )
    check_values(chosen, trained, size, num_pictures, max_drop)
    check_outputs(out, chosen, beside=beside)
    if chosen == "safetensors":
        return _safetensors(trained, out)
    if getattr(trained.model, "dtype", jnp.float32) != jnp.float32:
        print_notice("the network computed in another type; the file computes in float32")
        trained = replace(trained, model=cast(Any, trained.model).clone(dtype=jnp.float32))
    trial_of = partial(build_trial, trained, size, dataset, data_dir, num_pictures)
    if chosen == "stablehlo":
        return _stablehlo(trained, out, trial_of(), with_preprocessing, beside)
    from resnet_jax.export.write_onnx import write_int8, write_onnx  # ONNX's packages are an extra

    if chosen == "web":
        with filled(out, "out") as folder:
            write_web_page(trained, folder, onnxruntime_web)  # first: onnxruntime-web may be missing
            written_file = write_onnx(trained, folder / "network.onnx", trial_of(), with_preprocessing=True, half=half)
        return replace(written_file, path=out / "network.onnx", others=tuple(out / name for name in PAGE_FILES))
    if int8:
        validation = labeled_pictures(trained, VALIDATION, "val", dataset, data_dir)
        calibration = calibration_pictures(trained, CALIBRATION, dataset, data_dir)
        return write_int8(trained, out, trial_of(), with_preprocessing, calibration, validation, max_drop)
    return write_onnx(trained, out, trial_of(), with_preprocessing, half)


def _stablehlo(trained: Trained, out: Path, trial: Trial, with_preprocessing: bool, beside: bool) -> Exported:
    height, width = trial.pictures.shape[1:3]
    inside = trained.preprocessing if with_preprocessing else None
    program = to_stablehlo(trained.model, trained.variables, (height, width), inside, beside=beside)
    others = companions(out, beside=beside)
    description, arrays = others[0], others[-1]
    trials = [trial]
    if program.multiple:  # that no size stands in what must hold for all
        sizes = (side - program.multiple if side > program.multiple else 2 * side for side in (height, width))
        trials.append(resized_trial(trained, trial, *sizes))
    # The program gets its name last.
    with written(out) as temporary, written(description) as text_file, ExitStack() as stack:
        temporary.write_bytes(program.data)
        text_file.write_text(json.dumps(describe(trained, with_preprocessing, "[B,H,W,3]"), indent=2), "utf-8")
        read = {}
        if beside:
            arrays_file = stack.enter_context(written(arrays))
            write_tensors(arrays_file, program.arrays)
            read = read_file(arrays_file).tensors
        found = []
        for one in trials:
            images = one.pictures if with_preprocessing else one.normalized
            found.append(run_program(temporary.read_bytes(), read, images))
            check_logits(one.logits, found[-1], out)
    text = loader(program, out.name, arrays.name, (height, width), None if inside else trained.preprocessing)
    return Exported(out, others, loader=text, multiple=program.multiple, **trial.compare(found[0]))


def _safetensors(trained: Trained, out: Path) -> Exported:
    if out.suffix != ".safetensors":
        raise InputError(f"--out={out}: name a file ending in .safetensors")
    with written(out) as temporary:
        write_trained(temporary, trained, "ours", public_source(trained))
        read = load_pretrained(trained.name, temporary, num_classes=trained.num_classes)
        leaves = [jax.tree.leaves(tree) for tree in (read, trained.variables)]
        equal = sum(np.array_equal(a, b) for a, b in zip(*leaves, strict=True))
        if equal != len(leaves[0]):
            raise InputError(f"{out}: {len(leaves[0]) - equal} arrays are not as they were written: nothing was kept")
    return Exported(out, agreeing=equal, compared=len(leaves[0]))

"""Write a report on a network: one HTML page that shows where it is wrong, and how sure it is.

    python -m experiments.report --workdir=RUN
    python -m experiments.report --workdir=RUN --checkpoint=best --split=train --out=FILE.html
    python -m experiments.report --model=resnet50 --weights=FILE --dataset=folder --data_dir=ROOT

The page holds its pictures and needs no other file. Beside it, predictions.csv (of masks pictures.csv) has a
line for every image. The files of other splits than the validation images are named after them: report-train.html.
"""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from resnet_jax.cli import parse_options, refuse_given, run_command
from resnet_jax.evaluation.image_set import Split
from resnet_jax.evaluation.page import name_of_split
from resnet_jax.evaluation.report import write_report
from resnet_jax.inference.which_network import WhichNetwork, load_named

CLASSIFIER_OPTIONS = ("links_out", "batch_size", "image_size", "resize")


@dataclass(frozen=True, kw_only=True)
class Options(WhichNetwork):
    """Options."""

    dataset: str = ""
    """Data set, as in training. Empty: the run's own"""
    data_dir: str = ""
    """Folder of the data. Empty: the run's own"""
    split: Split = "val"
    """Validation or training images, or those of ROOT/test; all without augmentation"""
    links_out: bool = False
    """Read symbolic links that leave --data_dir"""
    out: str = ""
    """File of the page. Empty: report.html or report-SPLIT.html in the run's folder; without a run, in this one"""
    batch_size: int = 0
    """Images a step. 0: the run's own; the result does not depend on it"""
    num_workers: int = -1
    """Decoding processes. 0: threads; -1: all cores but one, 16 at most, or threads"""


def main(argv: Sequence[str]) -> None:
    """Write the page, and print where it is and the result."""
    options = parse_options(Options, argv, "report", __doc__)
    out = Path(options.out or Path(options.workdir) / name_of_split("report.html", options.split))
    trained = load_named(options)
    if trained.classifies_pixels:
        refuse_given(options, CLASSIFIER_OPTIONS, "for networks that classify images, not pixels")
    report = write_report(
        trained,
        out,
        dataset=options.dataset,
        data_dir=options.data_dir,
        split=options.split,
        links_out=options.links_out,
        batch_size=options.batch_size,
        num_workers=options.num_workers,
        command=shlex.join(["python", "-m", "experiments.report", *argv]),
    )
    print(report.headline)
    print(f"the report is {out}, its table {out.with_name(report.table)}")


if __name__ == "__main__":
    run_command(main)

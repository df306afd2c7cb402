"""Publish a trained network on the Hugging Face hub: weights for this package and for timm, ONNX, a model card.

    python -m experiments.publish --workdir=RUN --repo=USER/NAME --license=apache-2.0
    python -m experiments.publish --workdir=RUN --repo=USER/NAME --dry_run

`load_pretrained("MODEL", "USER/NAME")` loads what was published and, of networks that timm has,
`timm.create_model("hf-hub:USER/NAME", pretrained=True)`. --dry_run leaves the folder and uploads nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from resnet_jax.cli import parse_options, run_command
from resnet_jax.export.publish import publish
from resnet_jax.inference.which_network import WhichNetwork, load_named
from resnet_jax.weights.hub import upload_command


@dataclass(frozen=True, kw_only=True)
class Options(WhichNetwork):
    """Options."""

    repo: str
    """Repository on the hub, USER/NAME"""
    folder: str = ""
    """Folder to write. Empty: published/NAME"""
    license: str = ""
    """License of the weights, such as apache-2.0. Empty: that of known weights, or not stated"""
    private: bool = False
    """Create a repository that others do not see"""
    dry_run: bool = False
    """Leave the folder, and upload nothing"""


def main(argv: Sequence[str]) -> None:
    """Publish, and print where."""
    options = parse_options(Options, argv, "publish", __doc__)
    folder, address = publish(
        load_named(options),
        options.repo,
        options.folder or f"published/{options.repo.rpartition('/')[2]}",
        license=options.license,
        private=options.private,
        dry_run=options.dry_run,
    )
    for path in sorted(folder.iterdir()):
        print(f"{path}: {path.stat().st_size / 1e6:,.3f} MB")
    command = upload_command(options.repo, folder, private=options.private)
    print(address or f"nothing was uploaded; `{command}` does it")


if __name__ == "__main__":
    run_command(main)

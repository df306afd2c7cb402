"""StableHLO files: what they compute in a process that does not know this package, and what is in them."""

import json
import subprocess
import sys
from typing import Any

import jax
import numpy as np
import pytest
from flax import linen as nn

from resnet_jax.export.stablehlo import PLATFORMS, loader, run_program, to_stablehlo
from resnet_jax.export.write import export
from resnet_jax.models.registry import create_model
from tests.export.toys import toy
from tests.random_variables import random_variables

OTHER_PROGRAM = """
import sys
import numpy as np
{loader}
np.save("logits.npy", logits(np.load("pictures.npy")))
assert "resnet_jax" not in sys.modules and "flax" not in sys.modules
"""


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"beside": True, "with_preprocessing": True}])
def test_the_printed_loader_computes_the_logits_without_this_package(tmp_path, options):
    trained = toy()
    written = export(trained, tmp_path / "net.stablehlo", **options)
    names = {path.name for path in (written.path, *written.others)}
    assert names == {path.name for path in tmp_path.iterdir()}
    facts = json.loads((tmp_path / "net.stablehlo.json").read_text())
    assert facts["model"] == "resnet8_cifar"
    assert "[B,H,W,3]" in facts["images"]
    pictures = np.random.default_rng(0).integers(0, 256, (3, 32, 48, 3), np.uint8)  # another size than the network's
    np.save(tmp_path / "pictures.npy", pictures)
    program = OTHER_PROGRAM.format(loader=written.loader)
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True)
    normalized = trained.preprocessing.normalize({"image": pictures})["image"]
    expected: Any = trained.model.apply(trained.variables, normalized)
    np.testing.assert_allclose(np.load(tmp_path / "logits.npy"), expected, atol=1e-5)
    assert written.loader.count("\n") <= 22
    assert written.multiple == 16


def test_one_file_is_for_all_platforms_and_has_no_lowering_of_this_machine(monkeypatch):
    monkeypatch.setenv("RESNET_JAX_FORMS", "canonical,matrix_product,space_to_depth")
    model = create_model("resnet18", stage_sizes=(1, 1, 1, 1), width=8, shortcut="C")
    program = to_stablehlo(model, random_variables(model, 64), (64, 64))
    exported = jax.export.deserialize(bytearray(program.data))
    text = exported.mlir_module()
    assert exported.platforms == PLATFORMS
    # One head; JAX may write the program once for each platform.
    assert text.count("= stablehlo.convolution(") == 13 * text.count("= stablehlo.dot_general ") > 0


class Flat(nn.Module):
    """A network whose kernel is as large as its images."""

    @nn.compact
    def __call__(self, x, train=False, features=False):
        return nn.Dense(3, name="head")(x.reshape(x.shape[0], -1))


def test_a_network_whose_kernel_has_the_images_size_is_written_for_it_alone():
    variables = random_variables(Flat(), 8)
    images = np.random.default_rng(0).normal(size=(5, 8, 8, 3)).astype(np.float32)
    program = to_stablehlo(Flat(), variables, (8, 8))
    assert program.multiple == 0
    expected: Any = Flat().apply(variables, images)
    np.testing.assert_allclose(run_program(program.data, {}, images), expected, atol=1e-5)
    assert "uint8 [B,8,8,3]" in loader(program, "net.stablehlo", "", (8, 8), None)

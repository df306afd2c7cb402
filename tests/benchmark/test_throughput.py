"""The measurement of steps, checkpoints and other programs: what is printed is what was done."""

import json
import shlex
import sys
from contextlib import redirect_stdout
from functools import partial
from io import StringIO

import pytest

from experiments import benchmark
from resnet_jax.benchmark import programs, roofline, versus
from resnet_jax.benchmark.programs import compile_program
from resnet_jax.benchmark.roofline import roofline_share
from resnet_jax.cli import run_command
from resnet_jax.errors import InputError
from resnet_jax.inference.fold_batch_norm import fold_batch_norm
from resnet_jax.models.registry import MODELS
from resnet_jax.models.resnet.blocks import BasicBlock
from resnet_jax.models.resnet.resnet import ResNet

TOY = ["--model=toy", "--image_size=8", "--batch_size=8", "--rounds=2"]


@pytest.fixture(scope="module", autouse=True)
def toy_and_small_roofline():
    """A network of one block, because each measurement compiles anew, and peaks of small arrays, for their seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(MODELS, "toy", partial(ResNet, (1,), BasicBlock, width=32, stem="cifar"))
        patch.setitem(roofline.SIZES, "cpu", (2**22, 256))
        yield


def printed(*argv):
    with redirect_stdout(StringIO()) as out:
        benchmark.main([*TOY, *argv])
    return json.loads(out.getvalue())


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """(What a training's measurement prints, the folder of its profile)."""
    folder = tmp_path_factory.mktemp("profile")
    return printed("--mode=train", f"--profile={folder}"), folder


@pytest.mark.slow
def test_training_and_its_profile(trained):
    found, folder = trained
    assert (found["mode"], found["model"], found["batch_size"]) == ("train", "toy", 8)
    assert found["images_per_second"] == pytest.approx(8e3 / found["milliseconds_per_step"], rel=0.01)
    low, high = found["milliseconds_range"]
    assert low <= found["milliseconds_per_step"] <= high
    assert found["share"]["of_roofline"] > 0
    assert list(folder.rglob("*.xplane.pb"))


@pytest.mark.slow
def test_several_seeds_at_once_count_their_images():
    found = printed("--mode=train", "--seeds=2")
    assert found["images_per_second"] == pytest.approx(2 * 8e3 / found["milliseconds_per_step"], rel=0.01)


@pytest.mark.slow
def test_several_steps_a_call_are_counted_one_by_one(trained):
    (one, _), three = trained, printed("--mode=train", "--steps_per_call=3")
    assert three["images_per_second"] == pytest.approx(8e3 / three["milliseconds_per_step"], rel=0.01)

    def bytes_of_a_step(found):
        share, roofline = found["share"]["of_bytes"], found["roofline"]["gigabytes_per_second"]
        return share * roofline * found["milliseconds_per_step"]

    assert bytes_of_a_step(three) == pytest.approx(bytes_of_a_step(one), rel=0.3)


@pytest.mark.slow
def test_normalizations_are_folded_unless_that_is_refused(monkeypatch):
    folded = []

    def fold(*args):
        folded.append(fold_batch_norm(*args))
        return folded[-1]

    monkeypatch.setattr(programs, "fold_batch_norm", fold)
    assert printed("--mode=infer")["giga_multiply_adds_per_second"] > 0
    assert len(folded) == 1
    printed("--mode=infer", "--fold=False")
    assert len(folded) == 1


@pytest.mark.slow
def test_a_checkpoint():
    found = printed("--mode=resume")
    assert found["checkpoint_mib"] > 0.3  # parameters and momentum
    low, high = found["save_milliseconds_range"]
    assert low <= found["save_milliseconds"] <= high
    assert 1e3 * found["write_seconds"] >= low


def test_two_programs_take_turns(tmp_path):
    log = tmp_path / "log"
    ours = [sys.executable, "-c", f"open({str(log)!r}, 'a').write('a'); print('{{\"images_per_second\": 30}}')"]
    found = versus.against(ours, f"printf b >> {log}; echo '{{starting'; echo '{{\"images_per_second\": 20}}'", 3)
    assert log.read_text() == "ababab"
    assert (found["ratio"], found["ratio_range"], found["theirs"]) == (1.5, [1.5, 1.5], {"images_per_second": 20})
    assert "cpu_ratio" not in found


def test_a_program_that_stays_is_asked_again():
    stays = (
        "import sys\nfor n, _ in enumerate(sys.stdin):\n print('{\"images_per_second\": %d}' % (10 + n), flush=True)"
    )
    found = versus.against([sys.executable, "-c", stays], shlex.join([sys.executable, "-c", stays]), 3)
    assert found["ours"] == found["theirs"] == {"images_per_second": 12}


def test_a_measurement_is_repeated_for_every_line_and_compiles_once(monkeypatch):
    compiled = []
    monkeypatch.setattr(programs, "compile_program", lambda *args: compiled.append(args) or compile_program(*args))
    monkeypatch.setattr("sys.stdin", StringIO("\n\n"))
    with redirect_stdout(StringIO()) as out:
        benchmark.main([*TOY, "--mode=infer", "--turns"])
    assert [json.loads(line)["mode"] for line in out.getvalue().splitlines()] == ["infer", "infer"]
    assert len(compiled) == 1


def test_cpu_seconds_are_compared_by_the_image():
    speeds = [(30, 1000, 2000), (20, 2000, 1000)]  # images a second, milliseconds of wall time and of CPU time
    names = ("images_per_second", "milliseconds_per_step", "cpu_milliseconds_per_step")
    ours, theirs = (["echo", json.dumps(dict(zip(names, speed, strict=True)))] for speed in speeds)
    assert versus.against(ours, shlex.join(theirs), 1)["cpu_ratio"] == 0.375  # 15 images a CPU second, and 40


@pytest.mark.parametrize(
    ("theirs", "why"),
    [
        ("echo oh no >&2; exit 3", "exit status 3: oh no"),
        ("echo twelve", "did not print a JSON object"),
        ("echo '{}'", "must print"),
    ],
)
def test_a_program_that_measures_nothing_is_refused(theirs, why):
    with pytest.raises(InputError, match=why):
        versus.against(["echo", '{"images_per_second": 1}'], theirs, 1)


def test_the_sweep_has_a_row_for_every_combination(monkeypatch, capsys):
    asked = []

    def measured(command):
        asked.append(command)
        if "--batch_size=4" in command:
            raise InputError(f"{' '.join(command)}: exit status 1: out of memory")
        return dict.fromkeys(benchmark.COLUMNS, len(asked))

    monkeypatch.setattr(versus, "measured_by", measured)
    benchmark.main(["--sweep", "--models", "resnet18", "resnet34", "--batch_sizes", "2", "4", "--dtype=bfloat16"])
    lines = capsys.readouterr().out.splitlines()
    assert len(asked) == 8
    assert all("--dtype=bfloat16" in command for command in asked)
    assert [json.loads(line)["mode"] for line in lines[:2]] == ["train", "infer"]
    assert lines[-1].startswith("| resnet34 | 4 | infer | exit status 1: out of memory |")


def test_the_share_is_the_larger_of_both():
    roofline = {"gigabytes_per_second": 100.0, "tera_multiply_adds_per_second": 2.0}
    share = roofline_share(roofline, 0.5, {"multiply_adds": 1e11, "bytes": 4e10})
    assert share == {"of_multiply_adds": 0.1, "of_bytes": 0.8, "of_roofline": 0.8}


@pytest.mark.parametrize("option", ["--rounds=0", "--seeds=0", "--batch_size=0"])
def test_what_cannot_be_measured_is_refused(option, capsys):
    with pytest.raises(SystemExit) as left:
        run_command(benchmark.main, [option])
    assert left.value.code == 2
    assert f"{option} must be at least 1" in capsys.readouterr().err

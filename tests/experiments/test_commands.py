"""The command lines: every option is explained, mistakes are met with a suggestion, the README's commands parse."""

import dataclasses
import importlib
import re
import shlex
from pathlib import Path

import pytest

from experiments import (
    benchmark,
    cifar,
    compare,
    convert,
    degradation,
    evaluate,
    export,
    finetune,
    imagenet,
    models,
    predict,
    prepare,
    publish,
    quickstart,
    recipes,
    report,
    segment,
    show_batch,
    tables,
)
from resnet_jax import cli
from resnet_jax.config.help import COLUMN
from resnet_jax.config.options import Config
from resnet_jax.config.segmentation_options import SegmentationOptions
from resnet_jax.errors import InputError
from resnet_jax.recipes import CIFAR, FOR_PHOTOGRAPHS, IMAGENET, SEGMENTATION, TRANSFER

ROOT = Path(__file__).parents[2]
console = importlib.import_module("experiments.__main__")
MASK_OPTIONS = {field.name for field in dataclasses.fields(SegmentationOptions)}  # in the help of experiments.segment
TRAINING = {
    "imagenet": (imagenet, imagenet.RECIPES, "resnet{depth}"),
    "cifar": (cifar, cifar.RECIPES, "resnet{depth}_cifar"),
    "finetune": (finetune, finetune.RECIPES, "resnet{depth}"),
    "segment": (segment, SEGMENTATION, "unet_resnet{depth}"),
    "show_batch": (show_batch, FOR_PHOTOGRAPHS, "resnet{depth}"),
    "quickstart": (quickstart, {}, "resnet{depth}_cifar"),
}
OPTIONS = {
    "benchmark": benchmark.Options,
    "compare": compare.Options,
    "convert": convert.Options,
    "degradation": degradation.Options,
    "evaluate": evaluate.Options,
    "export": export.Options,
    "models": models.Options,
    "predict": predict.Options,
    "prepare": prepare.Options,
    "publish": publish.Options,
    "recipes": recipes.Options,
    "report": report.Options,
    "tables": tables.Options,
}


def parse(name, *argv):
    module, recipes, family = TRAINING[name]
    argv = finetune.with_init_from(argv) if name in ("finetune", "segment") else argv
    return cli.parse_config(argv, name, module.__doc__, module.DEFAULTS, recipes=recipes, family=family)


def status_of(main, *argv):
    with pytest.raises(SystemExit) as left:
        cli.run_command(main, argv)
    return left.value.code


@pytest.mark.parametrize("name", [*TRAINING, *OPTIONS])
def test_help_explains_every_option(name, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    module = importlib.import_module(f"experiments.{name}")
    assert status_of(module.main, "--help") == 0
    printed = capsys.readouterr().out
    for field in dataclasses.fields(OPTIONS.get(name, Config)):
        if field.name not in ("images", "source", "workdirs") and (name == "segment" or field.name not in MASK_OPTIONS):
            assert re.search(rf"--{field.name}\b", printed), field.name
    for recipe in {"imagenet": IMAGENET, "cifar": CIFAR, "finetune": TRANSFER, "segment": SEGMENTATION}.get(name, {}):
        assert f"--recipe={recipe}" in printed


def help_of(main, capsys, monkeypatch, *argv, columns=120):
    monkeypatch.setenv("COLUMNS", str(columns))
    assert status_of(main, *argv, "--help") == 0
    return capsys.readouterr().out.splitlines()


def test_the_help_of_a_training_is_short_and_wrapped(capsys, monkeypatch):
    lines = help_of(imagenet.main, capsys, monkeypatch)
    assert len(lines) <= 150
    assert not [line for line in lines if line.startswith(" " * COLUMN)]  # a line an option
    assert max(map(len, lines)) <= 120
    narrow = help_of(imagenet.main, capsys, monkeypatch, columns=90)
    assert max(len(line) for line in narrow if "python -m" not in line) <= 90


def test_the_help_of_a_training_has_titled_groups(capsys, monkeypatch):
    lines = help_of(imagenet.main, capsys, monkeypatch)
    titles = [line.strip("─ ") for line in lines if line.startswith("── ")]
    assert titles[1:] == [
        *("Run", "Model", "Transfer", "Data", "Augmentation", "Batch and length", "Optimizer", "Learning rate"),
        "Regularization",
        *("Loss", "Average of the weights", "Precision and memory", "Logging", "Devices"),
    ]
    start, end = (lines.index(next(line for line in lines if line.startswith(f"── {t} "))) for t in ("Loss", "Average"))
    assert {"--loss", "--label_smoothing", "--teacher"} < {line.split()[0] for line in lines[start + 1 : end]}


def test_the_help_of_a_recipe_shows_its_defaults(capsys, monkeypatch):
    def default(option, *argv):
        line = next(line for line in help_of(imagenet.main, capsys, monkeypatch, *argv) if f"--{option} " in line)
        return line.rpartition("[")[2].rstrip("]")

    assert (default("epochs"), default("schedule"), default("mixup")) == ("90", "step", "0")
    recipe = "--recipe=torchvision_v2"
    assert (default("epochs", recipe), default("schedule", recipe), default("mixup", recipe)) == (
        "600",
        "cosine",
        "0.2",
    )
    assert default("recipe", recipe) == "torchvision_v2"


@pytest.mark.parametrize("name", [*TRAINING, *OPTIONS])
@pytest.mark.parametrize("debug", [["--debug"], ["--debug=True"], ["--debug", "True"]], ids=" ".join)
def test_every_command_takes_debug(name, debug, capsys):
    required = {"compare": ["x"], "convert": ["x", "--out=y"], "predict": ["x"], "prepare": ["--out=x"]}
    required |= {"export": ["--out=x"], "publish": ["--repo=x/y"]}
    argv = [*required.get(name, []), *debug]
    if name in TRAINING:
        assert parse(name, *argv).debug
    else:
        assert cli.parse_options(OPTIONS[name], argv, name, "") == cli.parse_options(
            OPTIONS[name], required.get(name, []), name, ""
        )


def test_debug_prints_the_traceback_of_an_error(capsys, tmp_path):
    assert status_of(compare.main, str(tmp_path)) == 2
    assert "Traceback" not in capsys.readouterr().err
    assert status_of(compare.main, str(tmp_path), "--debug") == 2
    printed = capsys.readouterr().err
    assert "Traceback" in printed
    assert printed.splitlines()[-1].startswith("error: ")


def test_a_mistyped_option_is_refused_with_a_suggestion(capsys):
    assert status_of(imagenet.main, "--wrkdir=x") == 2
    printed = capsys.readouterr()
    assert "--workdir" in printed.out + printed.err


def test_a_mistyped_recipe_is_refused_with_a_suggestion():
    with pytest.raises(InputError, match=r"did you mean rsb_a3\? known are"):
        parse("imagenet", "--recipe=rsb_a4")


def test_the_console_script_lists_the_commands_and_runs_them(capsys):
    assert status_of(console.main) == 0
    printed = capsys.readouterr().out
    assert sorted([*TRAINING, *OPTIONS]) == console.NAMES
    for name in console.NAMES:
        assert re.search(rf"^  {name} +[A-Z]", printed, re.MULTILINE)
    assert status_of(console.main, "compare", "--help") == 0
    assert "usage: python -m experiments.compare" in capsys.readouterr().out


def test_a_mistyped_command_is_refused_with_a_suggestion(capsys):
    assert status_of(console.main, "predct") == 2
    assert "did you mean predict?" in capsys.readouterr().err


def test_control_c_where_nothing_is_to_be_saved_is_one_line(capsys):
    def wait(argv):
        raise KeyboardInterrupt

    assert status_of(wait) == 75
    assert capsys.readouterr().err.count("\n") == 1


def test_a_stray_argument_is_refused():
    assert status_of(cifar.main, "resnet20") == 2


def test_depth_names_the_network_of_the_family():
    assert parse("imagenet", "--depth=50").model == "resnet50"
    assert parse("imagenet", "--depth", "152").model == "resnet152"
    assert parse("cifar", "--depth=8").model == "resnet8_cifar"
    assert parse("cifar").model == "resnet20_cifar"
    assert parse("cifar", "--model=plain20_cifar").model == "plain20_cifar"
    with pytest.raises(InputError, match="name two networks"):
        parse("cifar", "--model=plain20_cifar", "--depth=20")


def test_an_option_wins_over_the_recipe_and_the_recipe_over_the_experiment():
    assert parse("cifar").epochs == pytest.approx(64_000 * 128 / 50_000)
    assert parse("cifar", "--recipe=fast").schedule == "linear"
    assert parse("cifar", "--recipe", "fast", "--schedule=cosine").schedule == "cosine"
    assert parse("imagenet", "--recipe=he2015", "--batch_size=64").batch_size == 64
    with pytest.raises(InputError, match="known are: goyal2017, he2015"):
        parse("imagenet", "--recipe=goyal")


def test_the_sizes_of_a_recipe_scale_with_the_image_size():
    config = parse("imagenet", "--recipe=ffcv16", "--image_size=96")
    assert (config.progressive, config.eval_image_size) == ("80:96", 128)
    config = parse("imagenet", "--recipe=ffcv16", "--image_size=96", "--progressive=64:96", "--eval_image_size", "112")
    assert (config.progressive, config.eval_image_size) == ("64:96", 112)
    config = parse("imagenet", "--recipe=torchvision_v2", "--image_size=88")
    assert config.eval_image_size == 112
    config = parse("imagenet", "--recipe=ffcv16", "--dataset=cifar10", "--image_size=0")
    assert (config.progressive, config.eval_image_size) == ("", 0)
    assert parse("imagenet", "--recipe=ffcv16").progressive == "160:192"


def test_a_switch_needs_no_value():
    assert parse("cifar", "--nesterov").nesterov
    assert parse("cifar", "--zero-init").zero_init
    assert not parse("cifar", "--recipe=fast", "--nesterov=False").nesterov


def test_a_config_survives_its_json():
    import json

    from resnet_jax.config.options import differences, from_json

    config = parse("imagenet", "--depth=18")
    assert from_json(json.loads(json.dumps(dataclasses.asdict(config)))) == config
    moved = dataclasses.replace(config, workdir="elsewhere", num_workers=3)
    assert differences(config, moved) == []
    assert differences(config, dataclasses.replace(config, seed=1)) == ["--seed=1 where the run has 0"]


PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/*.md"))]


def commands_on(page):
    """The words of every command on a page that is one as it stands: without an ellipsis, or a name to fill in."""
    lines = re.findall(r"python -m experiments\.\w+[^\n`|)\"]*", page.read_text().replace("\\\n", " "))
    words = [
        shlex.split(line.partition("#")[0].partition(" > ")[0].partition("; ")[0], posix=True)[2:] for line in lines
    ]
    fills = re.compile(r"…|<|\$|\b(COMMAND|NAME|BUDGET|MODE|K|EPOCHS|OTHER)\b")
    return [command for command in words if not any(map(fills.search, command)) and len(command) > 1]


def test_the_readme_has_commands():
    assert len(commands_on(PAGES[0])) >= 5


COMMANDS = {" ".join(words): words for page in PAGES for words in commands_on(page)}


@pytest.mark.parametrize("words", COMMANDS.values(), ids=COMMANDS.keys())
def test_every_command_in_the_documents_parses(words):
    name = words[0].removeprefix("experiments.")
    if name in TRAINING:
        parse(name, *words[1:])
    else:
        options = cli.parse_options(OPTIONS[name], words[1:], name, "")
        if isinstance(options, benchmark.Options):
            benchmark.check_used(options)


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"mode": "infer", "steps_per_call": 8}, "--steps_per_call does nothing here: it needs --mode=train"),
        ({"fold": False}, "--fold does nothing here: it needs --mode=infer"),
        ({"mode": "compile", "profile": "trace"}, "--profile does nothing here: it needs --mode=train or infer"),
        ({"data_dir": "photographs"}, "--data_dir does nothing here: it needs --mode=input"),
        ({"models": ("resnet18",)}, "--models does nothing here: it needs --sweep"),
    ],
)
def test_options_of_another_measurement_are_refused(options, line):
    with pytest.raises(InputError, match=line):
        benchmark.check_used(benchmark.Options(**options))


def test_a_sweep_gives_every_measurement_its_own_options():
    options = benchmark.Options(sweep=True, models=("resnet18",), steps_per_call=8, fold=False)
    benchmark.check_used(options)
    for mode, own in (("train", "--steps_per_call=8"), ("infer", "--fold=False")):
        words = benchmark.command(dataclasses.replace(options, mode=mode))
        assert own in words
        benchmark.check_used(cli.parse_options(benchmark.Options, words[3:], "benchmark", ""))


def test_fewer_workers_than_none_are_refused(tmp_path):
    for command in (["prepare", f"--data_dir={tmp_path}", f"--out={tmp_path / 'out'}"], ["benchmark", "--mode=input"]):
        main = {"prepare": prepare.main, "benchmark": benchmark.main}[command[0]]
        with pytest.raises(InputError, match="--num_workers=-5 must be at least -1"):
            main([*command[1:], f"--data_dir={tmp_path}", "--num_workers=-5"])
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        (
            ["--onnx=net.onnx", "--model=resnet50", "--batch_size=2", "a.jpg"],
            "--model, --batch_size are of no use with",
        ),
        (["--onnx=net.onnx", "--tile=512", "a.jpg"], "--tile is of no use with --onnx, whose file is the network"),
        (["--onnx=net.onnx"], "name at least one image file"),
    ],
)
def test_options_that_an_exported_network_does_not_have_are_refused(argv, line):
    with pytest.raises(InputError, match=line):
        predict.main(argv)


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        (["--out=net.onnx", "--max_drop=0.02"], "--max_drop is for --int8; leave it out"),
        (["--out=net.safetensors", "--size", "64", "64", "--pictures=4"], "--size, --pictures are for programs"),
        (["--out=net", "--to=safetensors", "--pictures=4"], "--pictures is for programs"),
    ],
)
def test_options_without_effect_on_an_export_are_refused(argv, line):
    with pytest.raises(InputError, match=line):
        export.main(["--model=resnet8_cifar", *argv])

"""A run that diverges stops, names the step, and keeps its last good checkpoint."""

from tests.faults.processes import TOY


def test_a_non_finite_step_is_named_and_never_becomes_a_checkpoint(command, tmp_path):
    status, output = command(
        "quickstart", f"--workdir={tmp_path}", *TOY, "--learning_rate=1e38", "--warmup_fraction=0.5"
    )
    assert status == 3, output
    assert "is not finite" in output
    step = int(output.rsplit("error: step ", 1)[1].split(":")[0])
    saved = [int(path.name) for path in (tmp_path / "checkpoints").iterdir() if path.name.isdigit()]
    assert all(s < step for s in saved)
    assert not (tmp_path / "result.json").exists()

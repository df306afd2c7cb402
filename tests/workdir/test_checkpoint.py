"""Checkpoints: bit-equal on any devices, damage never restored, and only what should stays in the folder."""

import gc
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from resnet_jax.errors import InputError
from resnet_jax.workdir import checkpoint
from resnet_jax.workdir.sealed import digest_of

# Orbax leaves at the first array that it cannot read. Its other reads find their event loop closed when they finish, or
# are collected as garbage before, and Python reports both as exceptions that nobody can catch.
pytestmark = [
    pytest.mark.filterwarnings(f"ignore:(?s).*{cause}:pytest.PytestUnraisableExceptionWarning")
    for cause in ("Event loop is closed", "coroutine object _read_array_index_and_device_put")
]


def place(tree, devices: int):
    """The tree on the first `devices`: arrays of two axes divided over the first one, the others whole on each."""
    mesh = Mesh(np.array(jax.devices()[:devices]), ("data",))
    spec = lambda leaf: PartitionSpec("data") if np.ndim(leaf) > 1 else PartitionSpec()  # noqa: E731
    return jax.tree.map(lambda leaf: jax.device_put(leaf, NamedSharding(mesh, spec(leaf))), tree)


def tree_of(seed: int) -> dict:
    """Each type that a state has, with values that show their last bit."""
    rng = np.random.default_rng(seed)
    return {
        "params": {"kernel": rng.normal(size=(64, 128)).astype(np.float32)},
        "half": rng.normal(size=(8, 4)).astype(jnp.bfloat16),
        "step": np.int32(seed),
        "odd": np.array([np.nan, -0.0, np.inf, 1e-45], np.float32),
    }


def assert_same_bits(a, b):
    def bits(leaf):
        return np.atleast_1d(np.asarray(leaf)).view(np.uint8)

    jax.tree.map(lambda x, y: np.testing.assert_array_equal(bits(x), bits(y)), jax.device_get(a), jax.device_get(b))


def test_the_fingerprint_does_not_depend_on_the_devices():
    prints = [checkpoint.fingerprint(place(tree_of(1), devices)) for devices in (1, 4, 8)]
    assert prints[0] == prints[1] == prints[2]
    assert {key.split()[0] for key in prints[0]} == {"['params']['kernel']", "['half']", "['step']", "['odd']"}
    assert len({digest_of(checkpoint.fingerprint(tree_of(seed))) for seed in range(4)}) == 4


@pytest.mark.parametrize("dtype", ["float32", "int32", "bfloat16", "int8"])
def test_every_single_flipped_bit_changes_the_fingerprint(dtype):
    array = np.random.default_rng(0).integers(0, 2, (2, 3)).astype(jnp.dtype(dtype))
    original = checkpoint.fingerprint([array])
    prints = []
    for byte in range(array.nbytes):
        for bit in range(8):
            flipped = array.copy()
            flipped.view(np.uint8).reshape(-1)[byte] ^= 1 << bit
            prints.append(checkpoint.fingerprint([flipped]))
    assert original not in prints
    assert len(prints) == 8 * array.nbytes


def test_swapped_values_change_the_fingerprint():
    a, b = np.array([1, 2, 3], np.float32), np.array([3, 2, 1], np.float32)
    assert checkpoint.fingerprint([a]) != checkpoint.fingerprint([b])


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    """A folder with checkpoints 1, 2 and 3, saved on eight devices."""
    folder = tmp_path_factory.mktemp("saved") / "checkpoints"
    with checkpoint.open_manager(folder, keep=3) as manager:
        for step in (1, 2, 3):
            checkpoint.save(manager, step, place(tree_of(step), 8))
    return folder


@pytest.fixture
def folder(saved, tmp_path) -> Iterator[Path]:
    """A copy that may be damaged."""
    yield Path(shutil.copytree(saved, tmp_path / "checkpoints"))
    gc.collect()  # what Orbax's abandoned reads have to say is said here, and not in another file's tests


def restore_newest(folder: Path, devices: int = 1) -> tuple[Any, list[str]]:
    """What came back, and what was reported."""
    lines: list[str] = []
    with checkpoint.open_manager(folder, keep=3) as manager:
        return checkpoint.restore_newest(manager, place(tree_of(0), devices), lines.append), lines


@pytest.mark.slow
@pytest.mark.parametrize("devices", [8, 4, 1])
def test_what_eight_devices_saved_comes_back_bit_by_bit_on_any(folder, devices):
    (step, tree), lines = restore_newest(folder, devices)
    assert (step, lines) == (3, [])
    assert_same_bits(tree, tree_of(3))
    expected = place(tree_of(3), devices)
    assert jax.tree.map(lambda leaf: leaf.sharding, tree) == jax.tree.map(lambda leaf: leaf.sharding, expected)


def test_a_saved_step_is_not_written_again(folder):
    with checkpoint.open_manager(folder, keep=3) as manager:
        checkpoint.save(manager, 3, place(tree_of(7), 1))
    (_, tree), _ = restore_newest(folder)
    assert_same_bits(tree, tree_of(3))


def test_what_was_saved_may_be_donated_at_once(tmp_path):
    donate = jax.jit(lambda tree: jax.tree.map(lambda leaf: leaf + 1, tree), donate_argnums=0)
    with checkpoint.open_manager(tmp_path) as manager:
        tree = place(tree_of(1), 8)
        checkpoint.save(manager, 1, tree)
        jax.block_until_ready(donate(tree))
    (_, tree), lines = restore_newest(tmp_path)
    assert lines == []
    assert_same_bits(tree, tree_of(1))


def data_file(folder: Path, step: int) -> Path:
    """The file that holds the arrays' bytes."""
    return max((folder / str(step) / "state").glob("**/d/*"), key=lambda path: path.stat().st_size)


def flip_bit(path: Path, share: float) -> None:
    content = bytearray(path.read_bytes())
    content[int(share * len(content))] ^= 1
    path.write_bytes(content)


DAMAGE = {
    "flipped early": lambda path: flip_bit(path, 0.25),
    "flipped in the middle": lambda path: flip_bit(path, 0.5),
    "flipped late": lambda path: flip_bit(path, 0.75),
    "truncated": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "empty": lambda path: path.write_bytes(b""),
    "deleted": lambda path: path.unlink(),
}


@pytest.mark.slow
@pytest.mark.parametrize("damage", list(DAMAGE))
def test_a_damaged_checkpoint_is_set_aside_and_the_one_before_used(folder, damage):
    DAMAGE[damage](data_file(folder, 3))
    (step, tree), lines = restore_newest(folder)
    assert step == 2
    assert_same_bits(tree, tree_of(2))
    (line,) = lines
    assert f"{folder / '3'} is damaged" in line
    assert "3.damaged" in line
    # Orbax reads flipped values without an error: what tells is the fingerprint.
    assert ("do not match their fingerprint" in line) is damage.startswith("flipped")
    assert "\n" not in line
    assert sorted(path.name for path in folder.iterdir()) == ["1", "2", "3.damaged"]


@pytest.mark.slow
@pytest.mark.parametrize("lost", ["fingerprint", "state", "_CHECKPOINT_METADATA"])
def test_a_checkpoint_that_lacks_a_part_is_not_restored(folder, lost):
    path = folder / "3" / lost
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    (step, tree), _ = restore_newest(folder)
    # Without Orbax's own note on the whole the arrays are still complete and proven so by their fingerprint.
    assert step == (3 if lost == "_CHECKPOINT_METADATA" else 2)
    assert_same_bits(tree, tree_of(step))


def test_training_goes_on_through_the_step_that_was_damaged_and_a_second_damage_finds_a_name(folder):
    for round_ in (1, 2):
        flip_bit(data_file(folder, 3), 0.5)
        with checkpoint.open_manager(folder, keep=3) as manager:
            assert checkpoint.restore_newest(manager, place(tree_of(0), 1), lambda line: None)
            assert sorted(manager.all_steps()) == [1, 2]
            checkpoint.save(manager, 3, place(tree_of(30 + round_), 1))
    (step, tree), lines = restore_newest(folder)
    assert (step, lines) == (3, [])
    assert_same_bits(tree, tree_of(32))
    assert sorted(path.name for path in folder.iterdir()) == ["1", "2", "3", "3.damaged", "3.damaged.2"]


def test_when_every_checkpoint_is_damaged_the_run_does_not_start_afresh_at_any_start(folder):
    for step in (1, 2, 3):
        flip_bit(data_file(folder, step), 0.5)
    for _ in range(2):
        with pytest.raises(InputError, match=r"every checkpoint is damaged \(3, 2, 1; the newest: its arrays do not"):
            restore_newest(folder)
        assert sorted(path.name for path in folder.iterdir()) == ["1", "2", "3"]


def test_a_folder_of_checkpoints_that_were_set_aside_is_no_new_run(folder):
    flip_bit(data_file(folder, 3), 0.5)
    restore_newest(folder)
    for step in (1, 2):
        shutil.rmtree(folder / str(step))
    with pytest.raises(InputError, match=r"holds damaged checkpoints only \(3.damaged\)"):
        restore_newest(folder)


def test_an_unreadable_checkpoint_is_not_called_damaged(folder, monkeypatch):
    whole = Path.open

    def refused(path, *arguments, **options):
        if "/3/state/" in str(path):
            raise PermissionError(13, "Permission denied", str(path))
        return whole(path, *arguments, **options)

    monkeypatch.setattr(Path, "open", refused)
    with pytest.raises(InputError, match=r"/3 cannot be read \(Permission denied\), which does not make it a damaged"):
        restore_newest(folder)
    assert sorted(path.name for path in folder.iterdir()) == ["1", "2", "3"]


def test_a_checkpoint_under_another_steps_name_is_not_that_step(folder):
    (folder / "3").rename(folder / "5")
    (step, tree), (line,) = restore_newest(folder)
    assert step == 2
    assert_same_bits(tree, tree_of(2))
    assert "5 is damaged (it is the checkpoint of step 3 under another name)" in line


def test_a_checkpoint_keeps_a_record_and_an_altered_one_is_damage(tmp_path):
    with checkpoint.open_manager(tmp_path, keep=3) as manager:
        for step in (1, 2):
            checkpoint.save(manager, step, place(tree_of(step), 1), record={"log": [7, step]})
        manager.wait_until_finished()
        assert checkpoint.stored_record(manager, 2) == {"step": 2, "log": [7, 2]}
    stored = tmp_path / "2" / "record" / "metadata"
    stored.write_text(stored.read_text().replace("7", "5", 1))
    (step, _), (line,) = restore_newest(tmp_path)
    assert step == 1
    assert "its content does not match its digest" in line


def test_a_checkpoint_without_a_record_is_restored(folder):
    shutil.rmtree(folder / "3" / "record")
    (step, tree), lines = restore_newest(folder)
    assert (step, lines) == (3, [])
    assert_same_bits(tree, tree_of(3))


def test_a_damaged_checkpoint_prints_nothing_of_orbax(folder, capfd):
    DAMAGE["truncated"](data_file(folder, 3))
    restore_newest(folder)
    gc.collect()
    printed = capfd.readouterr()
    assert printed.out + printed.err == ""


def test_a_reader_finds_that_a_checkpoint_was_deleted_and_does_not_call_it_damaged(folder):
    with checkpoint.open_reader(folder) as manager:
        shutil.rmtree(folder / "3")  # as a training does with an older one
        with pytest.raises(FileNotFoundError):
            checkpoint.restore_step(manager, 3, place(tree_of(0), 1))


def test_an_empty_folder_holds_no_checkpoint(tmp_path):
    assert restore_newest(tmp_path / "new" / "checkpoints") == (None, [])


def test_the_newest_and_the_best_stay(tmp_path):
    scores = {1: 0.2, 2: 0.9, 3: 0.4, 4: 0.5, 5: 0.3, 6: 0.95}
    kept = []
    with checkpoint.open_manager(
        tmp_path, keep=2, best_step=lambda steps: max(steps, key=scores.__getitem__)
    ) as manager:
        for step in scores:
            checkpoint.save(manager, step, place({"kernel": np.array([step], np.float32)}, 1))
            manager.wait_until_finished()
            kept.append(sorted(manager.all_steps()))
    assert kept == [[1], [1, 2], [2, 3], [2, 3, 4], [2, 4, 5], [5, 6]]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["5", "6"]


def everything(folder: Path) -> dict:
    return {path: (path.stat().st_mtime_ns, path.is_file() and path.read_bytes()) for path in folder.rglob("*")}


def test_a_reader_reads_any_step_and_changes_nothing(folder):
    unfinished = folder / "4.orbax-checkpoint-tmp-1"  # of a process that is writing now
    unfinished.mkdir()
    flip_bit(data_file(folder, 3), 0.5)
    before = everything(folder)
    with checkpoint.open_reader(folder) as manager:
        assert sorted(manager.all_steps()) == [1, 2, 3]
        assert_same_bits(checkpoint.restore_step(manager, 2, place(tree_of(0), 4)), tree_of(2))
        with pytest.raises(InputError, match=r"/3 is damaged .*name another step"):
            checkpoint.restore_step(manager, 3, place(tree_of(0), 1))
        assert checkpoint.stored_digest(manager, 2) == digest_of(checkpoint.fingerprint(tree_of(2)))
    assert everything(folder) == before


def test_the_writer_clears_what_a_crash_left_unfinished(folder):
    (folder / "4.orbax-checkpoint-tmp-1").mkdir()
    (step, _), _ = restore_newest(folder)
    assert step == 3
    assert sorted(path.name for path in folder.iterdir()) == ["1", "2", "3"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"odd": jnp.zeros(5)}, r"'odd'\] float32\[4\]"),
        ({"odd": jnp.zeros(4, jnp.bfloat16)}, r"'odd'\] bfloat16\[4\]"),  # which Orbax would convert to
        ({"step": jnp.float32(0)}, r"'step'\] float32\[\]"),
    ],
)
def test_a_checkpoint_of_another_network_or_type_is_no_damage_and_stays_where_it_is(folder, changed, named):
    before = sorted(path.name for path in folder.iterdir())
    with (
        checkpoint.open_manager(folder, keep=9) as manager,
        pytest.raises(InputError, match=rf"other arrays than .*{named}"),
    ):
        checkpoint.restore_newest(manager, place(tree_of(0) | changed, 1), print)
    assert sorted(path.name for path in folder.iterdir()) == before

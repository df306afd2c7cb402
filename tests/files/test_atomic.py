"""Atomic writes and the lock on a folder."""

import os

import pytest

from resnet_jax.files.atomic import atomic_path, write_atomically


def test_a_crash_in_the_middle_of_a_replacement_leaves_the_old_text(tmp_path, monkeypatch):
    path = tmp_path / "result.json"
    write_atomically(path, "old")

    def crash(source, target):
        assert path.read_text() == "old"  # all of the new text is on the disk, and none of it in the file
        assert source.read_text() == "new"
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", crash)
        with pytest.raises(KeyboardInterrupt):
            write_atomically(path, "new")
    assert path.read_text() == "old"
    write_atomically(path, "newer")
    assert path.read_text() == "newer"
    assert [p.name for p in tmp_path.iterdir()] == ["result.json"]


def test_a_write_that_fails_leaves_nothing_behind(tmp_path):
    def fail():
        with atomic_path(tmp_path / "figure.png") as temporary:
            temporary.write_bytes(b"half a fig")
            assert temporary.suffix == ".png"  # by which matplotlib and others tell the format
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert not list(tmp_path.iterdir())


def test_those_that_write_the_same_file_do_not_meet(tmp_path):
    path = tmp_path / "table.md"
    with atomic_path(path) as mine:
        write_atomically(path, "theirs")
        assert path.read_text() == "theirs"
        mine.write_text("mine")
    assert path.read_text() == "mine"
    assert [p.name for p in tmp_path.iterdir()] == ["table.md"]


def test_a_name_that_is_no_text_is_written_with_question_marks(tmp_path):
    write_atomically(tmp_path / "page.html", "caf\udce9 and café")
    assert (tmp_path / "page.html").read_text("utf-8") == "caf? and café"

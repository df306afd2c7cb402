"""A record that cannot be read is one line with its number and why."""

import errno
import os

import pytest

from resnet_jax.data.sources.records import read_record
from resnet_jax.errors import InputError


class Failing:
    """Records that array_record cannot read."""

    def __init__(self, text: str):
        self.text = text

    def __len__(self):
        return 3

    def __getitem__(self, index):
        raise RuntimeError(self.text)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("chunk data hash mismatch\nat byte 3659", "a shard is damaged; copy it"),
        (
            f"open() failed: {os.strerror(errno.EMFILE)}; opening x",
            "too many files are open; raise the limit, ulimit -n",
        ),
    ],
)
def test_damage_and_a_lack_of_open_files_are_told_apart(text, says):
    with pytest.raises(InputError, match=f"^SET train example 2 cannot be read: {says}$"):
        read_record(Failing(text), 2, "SET train", "copy it")
    with pytest.raises(IndexError):
        read_record(Failing(text), 3, "SET train", "copy it")

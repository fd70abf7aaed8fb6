from __future__ import annotations

import errno
import os

import pytest

from medbench.harness.errors import UsageError
from medbench.harness.files import atomic_writer, hash_value, write_bytes, write_json


def test_an_interrupted_write_leaves_the_old_file_and_no_leftover(tmp_path):
    path = tmp_path / "a.json"
    write_bytes(path, b"old")
    with pytest.raises(KeyboardInterrupt), atomic_writer(path) as file:
        file.write(b"half")
        raise KeyboardInterrupt
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_a_full_disk_is_a_usage_error_that_leaves_nothing(tmp_path):
    path = tmp_path / "a.bin"
    with pytest.raises(UsageError, match="No space left on device"), atomic_writer(path) as file:
        file.write(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_hold_files_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot write .*file/a"):
        write_bytes(tmp_path / "file" / "a", b"")


def test_json_refuses_nan(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", {"value": float("nan")})
    assert list(tmp_path.iterdir()) == []


def test_hash_does_not_depend_on_the_order_of_keys():
    assert hash_value({"a": 1, "b": [2]}) == hash_value({"b": [2], "a": 1})
    assert hash_value({"a": 1}) != hash_value({"a": 2})

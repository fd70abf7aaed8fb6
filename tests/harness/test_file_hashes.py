from __future__ import annotations

import hashlib
import os
import sqlite3
from pathlib import Path

import pytest

from medbench.harness import file_hashes
from medbench.harness.errors import UsageError
from medbench.harness.file_hashes import file_sha256
from medbench.harness.locations import cache_root


def test_file_hash_equals_hashlib_and_follows_the_content(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"one")
    assert file_sha256(path) == hashlib.sha256(b"one").hexdigest()
    assert file_sha256(path) == hashlib.sha256(b"one").hexdigest()
    stamp = path.stat()
    path.write_bytes(b"two")
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert file_sha256(path) == hashlib.sha256(b"two").hexdigest()


def test_a_known_file_is_not_read_again(tmp_path, monkeypatch):
    path = tmp_path / "a"
    path.write_bytes(b"one")
    first = file_sha256(path)
    monkeypatch.setattr(file_hashes.hashlib, "file_digest", lambda *_: pytest.fail("read again"))
    assert file_sha256(path) == first


def test_a_damaged_memory_is_done_without(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDBENCH_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "a"
    path.write_bytes(b"one")
    cache_root().mkdir()
    (cache_root() / "file-hashes.sqlite").write_bytes(b"not a database" * 100)
    assert file_sha256(path) == hashlib.sha256(b"one").hexdigest()


def test_a_damaged_memory_is_begun_anew(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDBENCH_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "a"
    path.write_bytes(b"one")
    cache_root().mkdir()
    (cache_root() / "file-hashes.sqlite").write_bytes(b"not a database" * 100)
    for _ in range(2):
        file_sha256(path)
    monkeypatch.setattr(file_hashes.hashlib, "file_digest", lambda *_: pytest.fail("read again"))
    file_sha256(path)


@pytest.mark.parametrize("column", ["stamp", "sha256", "checksum"])
def test_a_row_that_was_changed_is_not_believed(tmp_path, monkeypatch, column):
    monkeypatch.setenv("MEDBENCH_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "a"
    path.write_bytes(b"one")
    digest = file_sha256(path)
    with sqlite3.connect(cache_root() / "file-hashes.sqlite") as connection:
        changed = f"update checked_hashes set {column} = replace({column}, '7', '5')"
        connection.execute(changed)
    assert file_sha256(path) == digest


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MEDBENCH_CACHE", str(tmp_path / "file" / "cache"))
    path = tmp_path / "a"
    path.write_bytes(b"one")
    assert file_sha256(path) == hashlib.sha256(b"one").hexdigest()


def test_an_unreadable_file_is_named():
    with pytest.raises(UsageError, match="cannot read /nowhere/a"):
        file_sha256(Path("/nowhere/a"))

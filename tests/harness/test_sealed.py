from __future__ import annotations

import hashlib
import json

import pytest

from medbench.harness import sealed
from medbench.harness.errors import UsageError
from medbench.harness.sealed import (
    check_seal,
    checked,
    is_damaged,
    is_whole,
    seal,
    seal_of,
    sealed_writer,
    unchecked,
    write_sealed,
)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "file"
    write_sealed(path, b"content")
    return path


def test_a_seal_is_what_sha256sum_writes(path):
    assert seal_of(path).read_text() == f"{hashlib.sha256(b'content').hexdigest()}  file\n"


def test_a_sealed_file_is_whole(path):
    assert is_whole(path)
    check_seal(path, "weights")


@pytest.mark.parametrize("target", ["file", "file.sha256"])
def test_no_flipped_bit_passes(path, target):
    changed = path.with_name(target)
    data = changed.read_bytes()
    meaning = 7 if target == "file" else 64
    for place in range(meaning):
        for bit in range(8):
            flipped = bytearray(data)
            flipped[place] ^= 1 << bit
            changed.write_bytes(flipped)
            assert not is_whole(path), (place, bit)
            with pytest.raises(UsageError, match="damaged"):
                check_seal(path, "weights")


def test_a_file_without_a_seal_is_unfinished_in_a_cache_and_a_users_own_elsewhere(tmp_path):
    path = tmp_path / "own"
    path.write_bytes(b"x")
    assert not is_whole(path)
    assert not is_damaged(path)
    check_seal(path, "weights")


def test_no_file_is_neither_whole_nor_damaged(tmp_path):
    assert not is_whole(tmp_path / "none")
    assert not is_damaged(tmp_path / "none")


def test_a_writer_that_is_stopped_leaves_no_file_without_a_seal(tmp_path, monkeypatch):
    path = tmp_path / "file"

    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(sealed, "write_bytes", stop)
        with pytest.raises(KeyboardInterrupt), sealed_writer(path) as file:
            file.write(b"content")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(RuntimeError), sealed_writer(path) as file:
        file.write(b"con")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_a_file_written_in_pieces_is_sealed(tmp_path):
    path = tmp_path / "file"
    with sealed_writer(path) as file:
        file.write(b"con")
        file.write(memoryview(b"tent"))
    assert is_whole(path)
    assert path.read_bytes() == b"content"


def test_what_something_else_wrote_can_be_sealed(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"content")
    seal(path)
    assert is_whole(path)


def test_facts_with_their_own_hash_notice_every_change():
    facts = {"step": 5, "folder": "step-5", "shape": [1, 2.5], "none": None}
    text = json.dumps(checked(facts)).encode()
    assert unchecked(json.loads(text)) == facts
    for place in range(len(text)):
        for bit in range(8):
            flipped = bytearray(text)
            flipped[place] ^= 1 << bit
            try:
                found = unchecked(json.loads(flipped.decode()))
            except ValueError:
                continue
            # The name of the hash itself: all facts are there, unchanged.
            assert {name: found[name] for name in facts} == facts


@pytest.mark.parametrize("value", [[], 3, None, "text"])
def test_facts_are_a_mapping(value):
    with pytest.raises(ValueError, match="not a mapping"):
        unchecked(value)

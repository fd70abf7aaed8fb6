"""Images of samples are decoded once, and decoded anew where the kept ones are gone."""

from __future__ import annotations

import numpy as np
import pytest

from medbench.tasks.synthesis import decoded as module
from medbench.tasks.synthesis.decoded import Decoded

CODES = np.arange(150, dtype=np.uint8)[:, None, None]
KEPT = 100


@pytest.fixture
def calls(monkeypatch) -> list[int]:
    """How many images each call of the tokenizer's decoder was given; it paints the code."""
    numbers: list[int] = []

    def decode(_, codes: np.ndarray) -> np.ndarray:
        numbers.append(len(codes))
        return np.broadcast_to(codes[:, :, :, None], (len(codes), 2, 2, 3)).copy()

    monkeypatch.setattr(module, "decode_codes", decode)
    return numbers


@pytest.fixture
def images(calls, tmp_path) -> Decoded:
    made = Decoded(None, CODES, tmp_path, KEPT)  # type: ignore[arg-type]
    for start in (0, 64, 128):
        assert made.shard(start, min(start + 64, 150))[:, 0, 0, 0].tolist() == list(
            range(start, min(start + 64, 150))
        )
    calls.clear()
    return made


def painted(images: np.ndarray) -> list[int]:
    return images[:, 1, 1, 2].tolist()


def test_first_images_are_not_decoded_again(images, calls):
    assert painted(images.at(np.array([99, 3, 70, 3]))) == [99, 3, 70, 3]
    assert not calls


def test_images_that_were_not_kept_are_decoded(images, calls, tmp_path):
    assert painted(images.at(np.array([KEPT, 3]))) == [KEPT, 3]
    assert calls == [2]
    assert not (tmp_path / "images-00002.npz").exists()  # nothing of that shard is kept


def test_damaged_images_are_decoded_again(images, calls, tmp_path):
    path = tmp_path / "images-00000.npz"
    path.write_bytes(path.read_bytes()[:-1])
    assert painted(images.at(np.array([3, 70]))) == [3, 70]
    assert calls == [2]

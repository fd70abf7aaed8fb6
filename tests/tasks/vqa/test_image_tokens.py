from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from medbench.harness.datasets.question import Question
from medbench.harness.errors import NotApplicable
from medbench.harness.shards import BatchSize
from medbench.tasks.vqa.controls import majority_answers, other_images
from medbench.tasks.vqa.image_tokens import averaged, image_tokens, scale_of
from medbench.tasks.vqa.scoring.asked import Asked


class Means:
    """A tokenizer whose features are the means of 4 x 4 blocks of each channel."""

    def __init__(self, cannot=None):
        self.info = SimpleNamespace(
            full_name="means@test", weights_sha256="0", parameters=0, cannot=cannot or {}
        )
        self.calls = 0

    def features(self, images):
        self.calls += len(images)
        return torch.nn.functional.avg_pool2d(images, 2).flatten(2).transpose(1, 2)


class Store:
    fingerprint = "f"

    def __init__(self, images):
        self.images = images

    def __len__(self):
        return len(self.images)

    def read(self, start, stop):
        return self.images[start:stop]


@pytest.fixture
def store(rng):
    return Store(rng.integers(0, 256, (130, 8, 8, 3), dtype=np.uint8))


def cell_of(tokenizer):
    batch = BatchSize(8, device="cpu")
    return SimpleNamespace(tokenizer=tokenizer, identity=None, device="cpu", batch=batch)


def test_features_are_computed_once(store, tmp_path, monkeypatch):
    monkeypatch.setenv("MEDBENCH_CACHE", str(tmp_path))
    tokenizer = Means()
    found = image_tokens(cell_of(tokenizer), store, side=2).rows
    assert found.shape == (130, 4, 3)
    assert isinstance(found, np.memmap)
    expected = store.images.reshape(130, 2, 4, 2, 4, 3).mean(axis=(2, 4)).reshape(130, 4, 3) / 255
    np.testing.assert_allclose(found, expected, atol=1e-3)
    done = tokenizer.calls
    image_tokens(cell_of(tokenizer), store, side=2)
    assert tokenizer.calls <= done + 2, "only the spot checks"


def test_what_has_no_features_is_not_applicable(store):
    with pytest.raises(NotApplicable, match="a codec has none"):
        image_tokens(cell_of(Means({"features": "a codec has none"})), store, side=0)


def test_averaging_keeps_the_mean_and_leaves_few_tokens_alone():
    square, line = torch.rand(2, 64, 5), torch.rand(2, 60, 5)
    for tokens in (square, line):
        found = averaged(tokens, 2)
        assert found.shape == (2, 4, 5)
        torch.testing.assert_close(found.mean(dim=1), tokens.mean(dim=1))
    assert averaged(square, 8) is square
    assert averaged(square, 0) is square


def test_the_scale_is_numpys_mean_and_deviation(rng):
    tokens = rng.normal(3, 2, size=(70, 4, 5)).astype(np.float16)
    tokens[..., 4] = 7
    scale = scale_of(tokens)
    flat = tokens.astype(np.float64).reshape(-1, 5)
    np.testing.assert_allclose(scale.mean, flat.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(scale.deviation[:4], flat.std(axis=0)[:4], rtol=1e-4)
    assert scale.deviation[4] == 1


@pytest.mark.parametrize("count", [2, 3, 50])
def test_shuffling_gives_every_question_another_image(count):
    other = other_images(count, "fingerprint")
    assert sorted(other) == list(range(count))
    assert not (other == np.arange(count)).any()
    np.testing.assert_array_equal(other, other_images(count, "fingerprint"))


def test_the_majority_answer_is_that_of_the_class_and_then_of_the_kind():
    def learnt(answer, topic, kind="open"):
        return Question("q", "i", "?", answer, kind, "en", topic)

    training = [
        *(learnt("lung", "organ"), learnt("lung", "organ"), learnt("heart", "organ")),
        *(learnt("CT", "modality"), learnt("MRI", "modality"), learnt("yes", "organ", "closed")),
    ]
    asked = [
        Asked(learnt("?", "organ")),
        Asked(learnt("?", "modality")),
        Asked(learnt("?", "unseen")),
        Asked(learnt("?", "unseen", "closed")),
    ]
    assert majority_answers(training, asked) == ["lung", "CT", "lung", "yes"]

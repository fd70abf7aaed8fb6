from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from open_clip.loss import ClipLoss
from safetensors.torch import load_file

from medbench.harness.datasets import medsynth
from medbench.harness.errors import UsageError
from medbench.harness.training import parallel
from medbench.harness.training.config_terms import read_fields
from medbench.harness.training.presets import find_preset
from medbench.harness.training.run import train
from medbench.harness.training.run_plan import Stage
from medbench.harness.training.settings import OptimiserSettings, TrainingSettings
from medbench.harness.training.sources.source import TrainingImage
from medbench.harness.training.teachers import recipe as teacher_recipe
from medbench.harness.training.teachers.miniature import MiniatureTerms, load_miniature
from medbench.harness.training.teachers.recipe import MiniatureRecipe, build, jitter
from medbench.harness.training.teachers.words import WordTokenizer, split
from medbench.harness.training.tokenizer_terms import DataTerms

SIZES = {
    "side": 32,
    "image_widths": [16, 16, 16, 32],
    "embed_dims": 16,
    "text_width": 16,
    "text_heads": 2,
    "context_length": 24,
    "vocabulary_images": 12,
    "shift": 1,
}
SETTINGS = TrainingSettings(steps=2, optimiser=OptimiserSettings(learning_rate=1e-3))


class Captioned:
    """Stripes of three widths in two directions, told apart by their captions."""

    size = None
    fingerprint = ""

    def __init__(self, text: str = "{} {} stripes") -> None:
        self.text = text

    def sample(self, position: int, side: int) -> TrainingImage:
        generator = torch.Generator().manual_seed(position % 1000)
        direction, width = position % 2, (2, 4, 8)[position // 2 % 3]
        stripes = ((torch.arange(side) + position) // width % 2).float().expand(3, side, side)
        image = stripes.transpose(1, 2) if direction else stripes
        noise = torch.rand(3, side, side, generator=generator)
        text = self.text.format(("thin", "plain", "broad")[width // 4], ("tall", "flat")[direction])
        return TrainingImage(0.8 * image + 0.2 * noise, text)


@pytest.fixture
def captioned(monkeypatch) -> None:
    monkeypatch.setattr(teacher_recipe, "build_source", lambda *_a, **_k: Captioned())
    monkeypatch.setattr(teacher_recipe, "source_problems", lambda *_a, **_k: [])


def config(steps: int = 2) -> dict[str, Any]:
    return {
        "recipe": "miniature",
        "miniature": SIZES,
        "data": {"source": {}, "batch_size": 6, "side": 32},
        "model": {"of": "another stage"},
        "settings": {
            "steps": steps,
            "optimiser": {"learning_rate": 3e-3, "warmup_steps": 5},
            "log_every": 5,
            "threads": 1,
        },
    }


def test_the_loss_is_open_clips(captioned, tmp_path) -> None:
    still = {**SIZES, "shift": 0, "light": 0.0}
    recipe: Any = build({**config(), "miniature": still}, SETTINGS, tmp_path)
    batch = next(recipe.batches(0))
    found = recipe.losses(0, batch, torch.Generator().manual_seed(0))
    network = recipe.model
    images = network.encode_image(batch.images * 2 - 1, normalize=True)
    texts = network.encode_text(recipe.words(batch.texts), normalize=True)
    want = ClipLoss()(images, texts, network.logit_scale.exp())
    torch.testing.assert_close(found.terms["contrast"], want)
    assert found.images == 6


def test_a_run_leaves_a_teacher_that_has_learned_its_captions(captioned, tmp_path) -> None:
    weights = train([Stage("teacher", config(steps=150))], tmp_path / "run")
    assert load_miniature(tmp_path / "run").text_dims == 16
    recipe: Any = build(config(), SETTINGS, tmp_path / "other")
    batch = next(recipe.batches(1000))

    def loss() -> float:
        return recipe.losses(0, batch, torch.Generator().manual_seed(0)).terms["contrast"].item()

    before = loss()
    recipe.model.load_state_dict({k: v.float() for k, v in load_file(weights).items()})
    assert loss() < 0.8 * before


def test_the_temperature_stays_in_its_range(captioned, tmp_path) -> None:
    recipe: Any = build(config(), SETTINGS, tmp_path)
    for value, kept in ((9.0, math.log(100)), (-1.0, 0.0), (2.0, 2.0)):
        recipe.model.logit_scale.data.fill_(value)
        recipe.after_step(0, torch.Generator())
        assert recipe.model.logit_scale.item() == pytest.approx(kept, abs=1e-4)


def test_jitter_moves_whole_images_and_changes_them_evenly() -> None:
    terms = MiniatureTerms(shift=2, light=0.2)
    images = torch.rand(6, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
    moved = jitter(images, 6, terms, torch.Generator().manual_seed(1))
    for before, after in zip(images, moved, strict=True):
        # The middle is somewhere in the image around it, up to a gain and an offset.
        middle = after[:, 2:6, 2:6].flatten().numpy()
        fits = []
        for top in range(5):
            for left in range(5):
                window = before[:, top : top + 4, left : left + 4].flatten().numpy()
                gain, offset = np.polyfit(window, middle, 1)
                fits.append((np.abs(gain * window + offset - middle).max(), gain, offset))
        error, gain, offset = min(fits)
        assert error < 1e-5
        assert 0.8 <= gain <= 1.2
        assert abs(offset) <= 0.2 + 1e-6


def test_rows_of_a_batch_are_changed_alike_however_many_share_it(monkeypatch) -> None:
    terms = MiniatureTerms()
    images = torch.rand(6, 3, 8, 8)
    whole = jitter(images, 6, terms, torch.Generator().manual_seed(1))
    monkeypatch.setattr(parallel, "own_rows", lambda _total: slice(2, 4))
    part = jitter(images[2:4], 6, terms, torch.Generator().manual_seed(1))
    assert torch.equal(part, whole[2:4])


def test_an_image_without_a_caption_is_refused_by_its_place(captioned, tmp_path) -> None:
    recipe: MiniatureRecipe = build(config(), SETTINGS, tmp_path)
    batch = next(recipe.batches(3))
    batch.texts[4] = ""
    with pytest.raises(UsageError, match="image 22 of the source has no caption"):
        recipe.losses(3, batch, torch.Generator())


def test_a_source_without_captions_is_refused(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(teacher_recipe, "build_source", lambda *_a, **_k: Captioned(""))
    with pytest.raises(UsageError, match="no captions"):
        build(config(), SETTINGS, tmp_path)


def test_the_presets_vocabulary_leaves_few_words_of_new_captions_unknown() -> None:
    chosen = find_preset("teacher-micro").stages()[0].config
    terms = read_fields(MiniatureTerms, chosen["miniature"], "miniature")
    read_fields(DataTerms, chosen["data"], "data")
    read_fields(TrainingSettings, chosen["settings"], "settings")
    names = medsynth.MODALITIES
    seen = [
        medsynth.describe(names[n % len(names)], n, split="train").caption
        for n in range(terms.vocabulary_images)
    ]
    words = WordTokenizer.of_texts(seen, terms.context_length)
    new = [medsynth.describe(name, n).caption for name in names for n in range(30)]
    numbers = words(new)
    ended = (numbers == words.end).any(dim=1)
    assert ended.all()
    assert (numbers == 1).sum() < 0.005 * (numbers > 0).sum()
    cut = sum(len(split(text)) >= terms.context_length for text in new)
    assert cut <= 0.03 * len(new)

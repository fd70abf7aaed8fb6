"""Small labelled sets whose classes are known to be easy, and a way to probe them in-process."""

from __future__ import annotations

import sys
from functools import partial
from types import ModuleType

import numpy as np
import pytest
import torch

from medbench.harness.probing.adam import AdamTerms, adam_scores
from medbench.harness.protocol import Encoding, TokenizerInfo
from medbench.harness.request import Request
from medbench.harness.runner import execute
from medbench.tasks.probe import measure, protocols, scoring

SIZES = {"train": 60, "val": 30, "test": 45}


class Colours:
    """Mean colours of 4 x 4 cells, as a tokenizer; counts the images that it is given."""

    def __init__(self, scale=1.0, noise=0.0):
        self.info = TokenizerInfo("colours", "test", "discrete", latent_dims=3, downsample=64)
        self.scale, self.noise, self.seen = scale, noise, 0

    def encode(self, images):
        self.seen += len(images)
        latents = torch.nn.functional.adaptive_avg_pool2d(images, 4) * self.scale
        if self.noise:
            # Of the pixels' own last digits: says nothing, and repeats.
            seeds = (images.double().sum((1, 2, 3)) * 1e6).long().tolist()
            rows = [
                torch.randn(latents.shape[1:], generator=torch.Generator().manual_seed(seed))
                for seed in seeds
            ]
            latents = latents * 0 + self.noise * torch.stack(rows)
        return Encoding(latents=latents)

    def decode(self, encoding):
        return torch.nn.functional.interpolate(encoding.latents, scale_factor=64)

    def features(self, images):
        return self.encode(images).latents.flatten(2).transpose(1, 2)

    def continuous(self, images):
        return self.features(images)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Fewer resamples, label draws, seeds and epochs than records have."""
    monkeypatch.setattr(scoring, "REPLICATES", 60)
    monkeypatch.setattr(protocols, "LABEL_DRAWS", 2)
    monkeypatch.setattr(measure, "PAPER_SEEDS", 1)
    monkeypatch.setattr(protocols, "adam_scores", partial(adam_scores, terms=AdamTerms(epochs=40)))


@pytest.fixture
def named(monkeypatch):
    """named(tokenizer) -> the reference under which `run` finds it."""
    module = ModuleType("probe_tokenizers")
    monkeypatch.setitem(sys.modules, module.__name__, module)

    def name(tokenizer, attribute="build"):
        setattr(module, attribute, lambda **_: tokenizer)
        return f"{module.__name__}:{attribute}"

    return name


def grey_images(rng, labels, *, contrast=40):
    """uint8 (N, 32, 32): the brighter, the higher the class."""
    levels = 60 + contrast * labels[:, None, None]
    return (levels + rng.integers(-30, 31, (len(labels), 32, 32))).clip(1, 255).astype(np.uint8)


@pytest.fixture
def make_npz(tmp_path):
    """make_npz(train_labels=...) -> the reference of a set in MedMNIST's layout."""

    def make(name="set.npz", **changes):
        rng = np.random.default_rng(3)
        arrays = {}
        for split, count in SIZES.items():
            labels = changes.get(f"{split}_labels", np.arange(count) % 3)
            levels = labels if labels.ndim == 1 else labels.sum(axis=1)
            contrast = changes.get("contrast", 40)
            arrays[f"{split}_images"] = grey_images(rng, levels, contrast=contrast)
            arrays[f"{split}_labels"] = labels.astype(np.uint8)
        for split in changes.get("without", ()):
            del arrays[f"{split}_images"], arrays[f"{split}_labels"]
        np.savez(tmp_path / name, **arrays)
        return f"npz@mri:{tmp_path / name}"

    return make


@pytest.fixture
def probe(tmp_path):
    """probe("down16", dataset=...) -> the record."""

    def run(tokenizer, *, output="results", **options):
        request = Request(
            tokenizers=[tokenizer], tasks=["probe"], output=tmp_path / output, **options
        )
        (cell,) = execute(request).cells
        if cell.error is not None:
            raise cell.error
        return cell.record

    return run

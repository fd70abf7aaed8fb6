from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from medbench.harness.training import latent_probe
from medbench.harness.training.latent_probe import LatentProbe, ProbeTerms
from medbench.harness.training.sources.source import TrainingImage
from medbench.harness.training.trainable import Reconstruction

GROUPS = ("ct", "xray")
CLASSES = ("dark", "light")


class Shades:
    """Images whose class is their brightness; the noise beside it says nothing."""

    size = None

    def sample(self, position: int, side: int) -> TrainingImage:
        which, group = position % 2, (position // 2) % 2
        noise = torch.from_numpy(np.random.default_rng(position).random((3, side, side)))
        image = (0.2 + 0.4 * which + 0.2 * noise).float()
        return TrainingImage(image, label=CLASSES[which], modality=GROUPS[group])


class Seeing:
    """Latents that are the image's blocks, or that look away."""

    last_layer = nn.Parameter(torch.zeros(1))

    def __init__(self, *, sees: bool) -> None:
        self.sees = sees

    def reconstruct(self, images, *, quantise, generator) -> Reconstruction:
        del quantise, generator
        latents = nn.functional.avg_pool2d(images, 8)
        if not self.sees:
            centred = images - images.mean(dim=(1, 2, 3), keepdim=True)
            latents = nn.functional.avg_pool2d(centred, 8)
        return Reconstruction(images, latents)


@pytest.fixture
def probe(monkeypatch) -> LatentProbe:
    monkeypatch.setattr(latent_probe, "build_source", lambda *_, **__: Shades())
    return LatentProbe(ProbeTerms({}, fit=120, test=240, side=16))


def test_latents_that_carry_the_class_reach_one(probe) -> None:
    scores = probe.scores(Seeing(sees=True), quantise=True)
    assert scores == pytest.approx({"map_flat": 1.0, "map_mean": 1.0}, abs=1e-9)


def test_latents_that_do_not_stay_near_chance(probe) -> None:
    scores = probe.scores(Seeing(sees=False), quantise=True)
    assert set(scores) == {"map_flat", "map_mean"}
    assert all(abs(value - 1 / 2) < 0.12 for value in scores.values())


def test_the_images_are_read_once(probe) -> None:
    first = probe.scores(Seeing(sees=True), quantise=True)
    before = probe._images
    assert probe.scores(Seeing(sees=True), quantise=False) == first
    assert probe._images is before

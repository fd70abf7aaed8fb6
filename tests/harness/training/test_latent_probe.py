from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from medbench.harness.errors import UsageError
from medbench.harness.training import latent_probe
from medbench.harness.training.latent_probe import LatentProbe, ProbeTerms
from medbench.harness.training.sources.source import TrainingImage
from medbench.harness.training.trainable import Reconstruction

GROUPS = ("ct", "xray")
CLASSES = ("dark", "light")


class Shades:
    """Images whose class is their brightness; the noise beside it says nothing."""

    def __init__(self, terms: str, size: int | None = None) -> None:
        self.seed, self.size = int(terms == "test"), size
        self.fingerprint = ""

    def sample(self, position: int, side: int) -> TrainingImage:
        which, group = position % 2, (position // 2) % 2
        noise = np.random.default_rng([self.seed, position]).random((3, side, side))
        noise = torch.from_numpy(noise)
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
    monkeypatch.setattr(latent_probe, "build_source", lambda terms, **_: Shades(terms))
    return LatentProbe(ProbeTerms("fit", "test", fit_images=120, test_images=240, side=16))


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


def test_an_image_is_never_taken_twice_to_reach_the_number(monkeypatch) -> None:
    monkeypatch.setattr(latent_probe, "build_source", lambda terms, **_: Shades(terms, size=100))
    probe = LatentProbe(ProbeTerms("fit", "test", fit_images=90, test_images=101, side=16))
    with pytest.raises(UsageError, match=r"probe\.test has 100 images; test_images asks for 101"):
        probe.scores(Seeing(sees=True), quantise=True)


def test_classes_and_modalities_that_only_one_source_has_are_left_out(monkeypatch) -> None:
    class Odd(Shades):
        def sample(self, position: int, side: int) -> TrainingImage:
            found = super().sample(position, side)
            if position % 5 == 0:
                return replace(found, label=f"only in {self.seed}")
            return replace(found, modality="mri") if position % 7 == 0 and self.seed else found

    monkeypatch.setattr(latent_probe, "build_source", lambda terms, **_: Odd(terms))
    probe = LatentProbe(ProbeTerms("fit", "test", fit_images=120, test_images=240, side=16))
    scores = probe.scores(Seeing(sees=True), quantise=True)
    assert scores == pytest.approx({"map_flat": 1.0, "map_mean": 1.0}, abs=1e-9)
    assert set(probe._labels) == set(CLASSES)
    assert set(probe._modalities) == set(GROUPS)


def test_sources_without_a_common_class_are_refused(monkeypatch) -> None:
    class Other(Shades):
        def sample(self, position: int, side: int) -> TrainingImage:
            found = super().sample(position, side)
            return replace(found, label=f"{found.label} {self.seed}")

    monkeypatch.setattr(latent_probe, "build_source", lambda terms, **_: Other(terms))
    with pytest.raises(UsageError, match="no modality has two classes"):
        LatentProbe(ProbeTerms("fit", "test", side=16)).scores(Seeing(sees=True), quantise=True)


def test_a_probe_is_not_scored_on_the_source_that_it_is_fitted_on() -> None:
    with pytest.raises(UsageError, match="the same source"):
        ProbeTerms({"kind": "pools"}, {"kind": "pools"})

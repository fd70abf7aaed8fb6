from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from medbench.harness.errors import UsageError
from medbench.harness.metrics.ms_ssim import ms_ssim
from medbench.harness.metrics.psnr import psnr
from medbench.harness.metrics.ssim import ssim
from medbench.harness.training import validation
from medbench.harness.training.sources.source import TrainingImage
from medbench.harness.training.trainable import Reconstruction
from medbench.harness.training.validation import TokenizerValidation, ValidationTerms, sheet

MODALITIES = ["ct", "xray", "ct", "", "ct"]


def picture(place: int, side: int = 32) -> np.ndarray:
    return np.random.default_rng(place).integers(0, 256, (side, side, 3), dtype=np.uint8)


class Listed:
    """Images whose places say what they are."""

    size = len(MODALITIES)
    fingerprint = ""

    def sample(self, position: int, side: int) -> TrainingImage:
        pixels = torch.from_numpy(picture(position, side)).permute(2, 0, 1).float() / 255
        return TrainingImage(pixels, modality=MODALITIES[position])


class Blurring:
    """Gives every image back darker, with the codes 0 to 3 of one book and 5 of another."""

    last_layer = nn.Parameter(torch.zeros(1))

    def __init__(self, channels: int = 3) -> None:
        self.channels = channels
        self.seen: list[torch.Tensor] = []

    def books(self) -> list[torch.Tensor]:
        return [torch.zeros(8, 2), torch.zeros(10, 2)]

    def reconstruct(self, images, *, quantise, generator) -> Reconstruction:
        self.seen.append(images)
        codes = torch.tensor([[0, 5], [1, 5], [2, 5], [3, 5]])
        rec = (0.9 * images - 0.15)[:, : self.channels]
        return Reconstruction(rec, images, indices=codes if quantise else None)


@pytest.fixture
def look(monkeypatch):
    monkeypatch.setattr(validation, "build_source", lambda *_, **__: Listed())
    return TokenizerValidation(ValidationTerms({}, images=len(MODALITIES), side=32)).look


def by_hand(image: np.ndarray) -> np.ndarray:
    made = (0.9 * (image / 127.5 - 1) - 0.15 + 1) * 127.5
    return np.rint(np.clip(made, 0, 255)).astype(np.uint8)


def test_scores_are_the_benchmarks_own_of_8_bit_images_and_means_over_modalities(look) -> None:
    scores = look(Blurring(), quantise=True).scores
    originals = np.stack([picture(place) for place in range(5)])
    for name, measure in (("psnr", psnr), ("ssim", ssim)):
        values = measure(originals, by_hand(originals))
        means = {"ct": values[[0, 2, 4]].mean(), "xray": values[1], "": values[3]}
        assert scores[f"{name}/ct"] == pytest.approx(means["ct"], rel=1e-5)
        assert scores[f"{name}/xray"] == pytest.approx(means["xray"], rel=1e-5)
        assert scores[name] == pytest.approx(np.mean(list(means.values())), rel=1e-5)
    assert scores["usage"] == pytest.approx((4 / 8 + 1 / 10) / 2)
    assert set(scores) == {"psnr", "ssim", "psnr/ct", "psnr/xray", "ssim/ct", "ssim/xray", "usage"}


def test_images_that_are_large_enough_have_ms_ssim_too(monkeypatch) -> None:
    monkeypatch.setattr(validation, "build_source", lambda *_, **__: Listed())
    terms = ValidationTerms({}, images=len(MODALITIES), side=161)
    scores = TokenizerValidation(terms).look(Blurring(), quantise=True).scores
    originals = np.stack([picture(place, 161) for place in range(5)])
    for name, measure in (("ssim", ssim), ("ms_ssim", ms_ssim)):
        values = measure(originals, by_hand(originals))
        assert scores[f"{name}/xray"] == pytest.approx(values[1], rel=1e-5)


def test_the_network_gets_8_bit_values_from_minus_one_to_one(look) -> None:
    trainable = Blurring()
    look(trainable, quantise=True)
    expected = torch.from_numpy(picture(0)).permute(2, 0, 1) / 127.5 - 1
    torch.testing.assert_close(torch.cat(trainable.seen)[0], expected)


def test_without_codes_there_is_no_usage(look) -> None:
    assert "usage" not in look(Blurring(), quantise=False).scores


def test_one_channel_becomes_grey(look) -> None:
    made = look(Blurring(channels=1), quantise=True).picture[32:64, :32]
    assert (made == made[..., :1]).all()
    assert np.array_equal(made[..., 0], by_hand(picture(0))[..., 0])


def test_the_sheet_has_the_first_image_of_each_modality_its_reconstruction_and_error(look) -> None:
    shown = look(Blurring(), quantise=True).picture
    assert shown.shape == (3 * 32, 3 * 32, 3)
    assert shown.dtype == np.uint8
    for column, place in enumerate((0, 1, 3)):
        at = slice(32 * column, 32 * column + 32)
        original, made = picture(place), by_hand(picture(place))
        assert np.array_equal(shown[:32, at], original)
        assert np.array_equal(shown[32:64, at], made)
        error = np.abs(original.astype(int) - made) * 4
        assert np.array_equal(shown[64:, at], error.clip(0, 255))


def test_errors_on_a_sheet_are_four_times_as_large_and_clipped() -> None:
    originals = np.full((1, 2, 2, 3), 100, np.uint8)
    made = originals.copy()
    made[0, 0, 0], made[0, 1, 1] = 110, 0
    error = sheet(originals, made, [0])[4:]
    assert error[..., 0].tolist() == [[40, 0], [0, 255]]


def test_images_are_loaded_once(look, monkeypatch) -> None:
    first = look(Blurring(), quantise=True)
    monkeypatch.setattr(Listed, "sample", None)
    assert look(Blurring(), quantise=True).scores == first.scores


def test_held_out_images_are_those_of_the_data_set(tmp_path, image_folder) -> None:
    terms = ValidationTerms(
        {"kind": "dataset", "dataset": f"folder:{image_folder}", "augmentation": "none"},
        images=6,
        side=64,
    )
    found = TokenizerValidation(terms).look(Blurring(), quantise=True)
    assert {"psnr/ct", "psnr/fundus"} <= set(found.scores)


def test_a_source_of_the_wrong_form_is_named() -> None:
    with pytest.raises(UsageError, match=r"validation\.source\.kind is 'film'"):
        TokenizerValidation(ValidationTerms({"kind": "film"})).look(
            SimpleNamespace(last_layer=torch.zeros(1)), quantise=True
        )

"""What every image of a modality must show: colour or grey, contrast, texture, Hounsfield units."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from medbench.harness.datasets.medsynth import MODALITIES, Sample

COLOUR = ("dermoscopy", "endoscopy", "fundus", "microscopy", "pathology")
GREY = tuple(name for name in MODALITIES if name not in COLOUR)

# Log-log slope of the radial power spectrum of photographs and scans lies between these.
STEEPEST, FLATTEST = -4.2, -1.3


def grey_levels(sample: Sample) -> np.ndarray:
    return sample.image.astype(float).mean(axis=2)


def spectral_slope(images: list[np.ndarray]) -> float:
    side = images[0].shape[0]
    window = np.outer(np.hanning(side), np.hanning(side))
    power = sum(np.abs(np.fft.fft2((image - image.mean()) * window)) ** 2 for image in images)
    frequency = np.hypot(*np.meshgrid(*2 * [np.fft.fftfreq(side, 1 / side)]))
    bands = np.geomspace(3, 100, 10)
    centres, means = [], []
    for low, high in pairwise(bands):
        inside = (frequency >= low) & (frequency < high)
        centres.append(np.log(np.sqrt(low * high)))
        means.append(np.log(power[inside].mean()))
    return float(np.polyfit(centres, means, 1)[0])


@pytest.mark.parametrize("modality", GREY)
def test_grey_modalities_are_exactly_grey(modality, rendered):
    for sample in rendered(modality):
        assert np.array_equal(sample.image[..., 0], sample.image[..., 1])
        assert np.array_equal(sample.image[..., 0], sample.image[..., 2])


@pytest.mark.parametrize("modality", COLOUR)
def test_colour_modalities_are_colourful(modality, rendered):
    for sample in rendered(modality):
        pixels = sample.image.astype(float)
        saturation = pixels.max(axis=2) - pixels.min(axis=2)
        assert saturation.mean() > 8


@pytest.mark.parametrize("modality", COLOUR)
def test_tissue_is_redder_than_green(modality, rendered):
    # Not every image: chromoendoscopy is blue.
    channels = np.mean([sample.image.mean(axis=(0, 1)) for sample in rendered(modality)], axis=0)
    assert channels[0] > channels[1] + 10


@pytest.mark.parametrize("modality", MODALITIES)
def test_no_image_is_flat(modality, rendered):
    # Bare skin and weakly stained sections are pale all over.
    floor = {"dermoscopy": 8, "pathology": 14}.get(modality, 20)
    for sample in rendered(modality):
        assert grey_levels(sample).std() > floor


@pytest.mark.parametrize("modality", MODALITIES)
def test_no_image_is_drowned_or_burnt_out(modality, rendered):
    for sample in rendered(modality):
        levels = grey_levels(sample)
        assert 5 < levels.mean() < 245
        assert (levels > 250).mean() < 0.45


@pytest.mark.parametrize("modality", MODALITIES)
def test_spectrum_falls_as_that_of_real_images(modality, rendered):
    slope = spectral_slope([grey_levels(sample) for sample in rendered(modality)])
    assert STEEPEST < slope < FLATTEST


@pytest.mark.parametrize("modality", MODALITIES)
def test_acquisition_varies(modality, rendered):
    means = np.array([grey_levels(sample).mean() for sample in rendered(modality)])
    assert means.std() > 4


def test_lesions_can_be_seen(rendered):
    # Few patients: in one modality most findings may be faint ones.
    contrasts = {modality: [] for modality in MODALITIES}
    for modality in MODALITIES:
        for sample in rendered(modality):
            if sample.mask.any():
                levels = sample.image.astype(float)
                inside = levels[sample.mask].mean(axis=0)
                outside = levels[~sample.mask].mean(axis=0)
                contrasts[modality].append(np.abs(inside - outside).max())
    assert all(max(values) > 10 for values in contrasts.values())
    assert np.median(np.concatenate(list(contrasts.values()))) > 15


def test_ct_is_in_hounsfield_units_and_its_image_is_the_window(rendered):
    for sample in rendered("ct"):
        assert sample.hounsfield is not None
        assert sample.hounsfield.dtype == np.int16
        assert sample.hounsfield.min() >= -1024
        assert sample.hounsfield.max() <= 3071
        windowed = np.clip((sample.hounsfield.astype(float) + 1000) / 2000, 0, 1) * 255
        assert np.abs(windowed - sample.image[..., 0]).max() <= 0.5 + 1e-3


def test_ct_shows_air_lung_soft_tissue_and_bone(rendered):
    for sample in rendered("ct"):
        units = sample.hounsfield
        assert (units < -950).mean() > 0.1
        assert ((units > -950) & (units < -600)).mean() > 0.02
        assert ((units > -200) & (units < 200)).mean() > 0.1
        assert (units > 400).mean() > 0.003


@pytest.mark.parametrize("modality", [name for name in MODALITIES if name != "ct"])
def test_only_ct_has_hounsfield_units(modality, rendered):
    assert rendered(modality)[0].hounsfield is None


def test_the_corners_of_fundus_and_brain_images_are_dark(rendered):
    for modality in ("fundus", "ct", "mri"):
        dark = [sample.image[:10, :10].mean() < 60 for sample in rendered(modality)]
        assert np.mean(dark) > 0.85

"""The building blocks against closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from medbench.harness.datasets.medsynth.branches import Roots, draw_branches, grow
from medbench.harness.datasets.medsynth.canvas import Canvas, make_canvas, shrink_mask
from medbench.harness.datasets.medsynth.lettering import write
from medbench.harness.datasets.medsynth.noise import (
    band_noise,
    power_noise,
    ridges,
    speckle,
    white_noise,
)
from medbench.harness.datasets.medsynth.shapes import (
    Cells,
    Ellipse,
    blob_depth,
    map_cells,
    stamp_discs,
    step,
)


def canvas(size: int = 256) -> Canvas:
    return make_canvas(size, np.random.default_rng(0))


def radial_power(field: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    frequency = np.hypot(*np.meshgrid(*2 * [np.fft.fftfreq(256, 1 / 256)])).round().astype(int)
    power = np.abs(np.fft.fft2(field)) ** 2
    means = np.bincount(frequency.ravel(), power.ravel()) / np.bincount(frequency.ravel())
    return np.arange(means.size), means


@pytest.mark.parametrize("slope", [0.5, 1.0, 2.0])
def test_power_noise_has_the_slope_asked_for(slope):
    frequency, power = radial_power(power_noise(canvas(), slope, low=0.1, high=1e6))
    inside = (frequency >= 4) & (frequency <= 100)
    fitted = np.polyfit(np.log(frequency[inside]), np.log(power[inside]), 1)[0]
    assert fitted == pytest.approx(-2 * slope, abs=0.15)


@pytest.mark.parametrize("frequency", [8.0, 30.0])
def test_band_noise_peaks_at_its_frequency(frequency):
    at, power = radial_power(band_noise(canvas(), frequency, width=0.2))
    centre = np.sum(at * at * power) / np.sum(at * power)
    assert centre == pytest.approx(frequency, rel=0.12)


def test_stretched_noise_is_longer_along_the_angle():
    field = band_noise(canvas(), 12.0, stretch=6.0, angle=0.0)
    along = np.abs(np.diff(field, axis=1)).mean()
    across = np.abs(np.diff(field, axis=0)).mean()
    assert across > 2.5 * along


@pytest.mark.parametrize("make", [lambda c: power_noise(c, 1.0), lambda c: band_noise(c, 9.0)])
def test_noise_is_centred_with_unit_variance_and_single_precision(make):
    field = make(canvas())
    assert field.dtype == np.float32
    assert abs(field.mean()) < 1e-3
    assert field.std() == pytest.approx(1.0, abs=1e-3)


def test_speckle_is_rayleigh_distributed():
    amplitude = speckle(canvas(), 0.5, 1.0)
    # Rayleigh: mean over deviation is sqrt(pi / (4 - pi)) = 1.913.
    assert amplitude.mean() / amplitude.std() == pytest.approx(1.913, rel=0.03)
    assert np.mean(amplitude**2) == pytest.approx(1.0, abs=1e-3)


def test_a_larger_canvas_carries_the_same_noise():
    small = power_noise(canvas(256), 1.5)
    large = power_noise(canvas(512), 1.5)
    halved = large.reshape(256, 2, 256, 2).mean(axis=(1, 3))
    assert np.corrcoef(small.ravel(), halved.ravel())[0, 1] > 0.99
    assert white_noise(canvas(512)).shape == (512, 512)


def test_ridges_are_one_on_the_zero_line_and_fall_off():
    values = ridges(np.float32([[0.0, 0.5, -0.5]]), 0.5)
    assert values == pytest.approx(np.array([[1.0, np.exp(-1), np.exp(-1)]]), abs=1e-6)


def test_step_is_a_half_at_zero_and_saturates():
    values = step(np.float32([-1.0, -0.1, 0.0, 0.1, 1.0]), 0.1)
    assert values == pytest.approx([0, 0, 0.5, 1, 1], abs=1e-6)


def test_ellipse_covers_its_area():
    ellipse = Ellipse(0.5, 0.45, 0.3, 0.12, 0.7)
    surface = canvas()
    assert ellipse.cover(surface.x, surface.y).mean() == pytest.approx(np.pi * 0.036, rel=0.02)


def test_blob_without_roughness_is_the_ellipse():
    surface = canvas()
    ellipse = Ellipse(0.5, 0.5, 0.2, 0.15)
    smooth = blob_depth(surface, ellipse, roughness=0.0)
    assert smooth == pytest.approx(ellipse.depth(surface.x, surface.y), abs=1e-5)
    rough = blob_depth(surface, ellipse, roughness=0.2) > 0
    assert 0.3 < rough.mean() / (np.pi * 0.03) < 2.0


@pytest.mark.parametrize("radius", [0.004, 0.02, 0.1])
def test_a_stamped_disc_covers_its_area(radius):
    disc = stamp_discs(canvas(), np.array([0.5]), np.array([0.5]), np.array([radius]), 1.0)
    assert disc.mean() == pytest.approx(np.pi * radius**2, rel=0.06)


def test_stamps_over_the_edge_are_cut_off():
    x = np.array([0.0, 1.0, -0.5])
    disc = stamp_discs(canvas(), x, np.full(3, 0.5), np.full(3, 0.1), 1.0)
    assert disc.mean() == pytest.approx(np.pi * 0.1**2, rel=0.05)


def test_each_pixel_belongs_to_the_nearest_cell():
    x, y = np.array([0.4, 0.6]), np.array([0.5, 0.5])
    cells = Cells(x=x, y=y, a=np.full(2, 0.12), b=np.full(2, 0.12), angle=np.zeros(2))
    found = map_cells(canvas(), cells, reach=1.2)
    assert found.owner[128, 100] == 0
    assert found.owner[128, 156] == 1
    assert found.radius[128, 102] < 0.1
    assert found.radius[5, 5] >= 2.0


def test_a_straight_branch_has_its_length_and_width():
    one = np.array([0.2])
    roots = Roots(x=one, y=one + 0.3, heading=one * 0, length=one * 3, radius=one * 0.05)
    branch = grow(np.random.default_rng(0), roots, wander=0.0, taper=1.0)
    drawn = draw_branches(canvas(), branch)
    assert drawn.sum() / 256**2 == pytest.approx(0.6 * 0.02, rel=0.08)


def test_letters_are_drawn_at_the_height_asked_for():
    drawn = write(canvas(), "L", 0.5, 0.25, height=14 / 256)
    rows, columns = np.nonzero(drawn > 0.5)
    assert (rows.min(), rows.max()) == (64, 77)
    assert columns.min() == 128


def test_a_tiny_lesion_survives_shrinking_and_an_empty_one_stays_empty():
    coverage = np.zeros((256, 256), np.float32)
    assert not shrink_mask(coverage, 32).any()
    coverage[100, 100] = 1.0
    assert shrink_mask(coverage, 32).sum() >= 1

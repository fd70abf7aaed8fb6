"""rFID and gFID cannot be mixed up: the two references take different candidates."""

from __future__ import annotations

import numpy as np
import pytest

from medbench.harness.errors import MetricError
from medbench.harness.metrics.frechet import frechet_distance
from medbench.harness.metrics.kid import kid
from medbench.harness.metrics.references import (
    GenerationReference,
    ReconstructionReference,
    Reconstructions,
    Samples,
)


@pytest.fixture
def real():
    return np.random.default_rng(0).normal(size=(120, 6))


@pytest.fixture
def other():
    return np.random.default_rng(1).normal(0.2, 1, size=(120, 6))


def originals(features):
    return ReconstructionReference(features, space="net", fingerprint="abc")


def real_images(features):
    return GenerationReference(features, space="net", images={"part": "test"})


def test_each_reference_gives_the_distance_of_its_own_candidates(real, other):
    back, samples = Reconstructions(other, "net", "abc"), Samples(other, "net")
    want = frechet_distance(real, other)
    assert originals(real).frechet(back, name="rfid") == want
    assert real_images(real).frechet(samples, name="gfid") == want
    assert originals(real).kernel(back, name="kid") == kid(real, other)
    assert real_images(real).kernel(samples, name="kid") == kid(real, other)


@pytest.mark.parametrize("distance", ["frechet", "kernel"])
def test_the_other_reference_is_a_type_error_not_a_number(real, other, distance):
    with pytest.raises(TypeError, match="rFID and gFID are different metrics"):
        getattr(originals(real), distance)(Samples(other, "net"), name="rfid")
    with pytest.raises(TypeError, match="rFID and gFID are different metrics"):
        getattr(real_images(real), distance)(Reconstructions(other, "net", "abc"), name="gfid")
    with pytest.raises(TypeError, match="ndarray"):
        getattr(originals(real), distance)(other, name="rfid")


def test_the_definitions_of_the_two_differ():
    assert ReconstructionReference.RULE != GenerationReference.RULE


def test_reconstructions_of_other_images_are_refused(real, other):
    with pytest.raises(MetricError, match="made from other images"):
        originals(real).frechet(Reconstructions(other, "net", "def"), name="rfid")
    with pytest.raises(MetricError, match="120 originals and 119 reconstructions"):
        originals(real).frechet(Reconstructions(other[1:], "net", "abc"), name="rfid")


def test_features_of_another_space_are_refused(real, other):
    with pytest.raises(MetricError, match="one extractor"):
        originals(real).frechet(Reconstructions(other, "net-tf", "abc"), name="rfid")
    with pytest.raises(MetricError, match="one extractor"):
        real_images(real).frechet(Samples(other, "net-tf"), name="gfid")


def test_samples_must_be_as_many_as_real_images_for_a_frechet_distance(real, other):
    with pytest.raises(MetricError, match="use equally many"):
        real_images(real).frechet(Samples(other[:110], "net"), name="gfid")
    assert real_images(real).kernel(Samples(other[:110], "net"), name="kid") == kid(
        real, other[:110]
    )


def test_fewer_than_a_hundred_images_are_refused_with_the_explanation(real, other):
    rows = np.arange(99)
    with pytest.raises(MetricError, match="99 images, at least 100"):
        originals(real).frechet(Reconstructions(other, "net", "abc"), rows, name="rfid")
    with pytest.raises(MetricError, match="99 images, at least 100"):
        real_images(real[:99]).frechet(Samples(other[:99], "net"), name="gfid")


def test_subsets_keep_pairs_together(real, other):
    subsets = np.array([np.arange(60), np.arange(60, 120)])
    back = Reconstructions(other, "net", "abc")
    found = originals(real).frechet_over(back, subsets)
    want = [frechet_distance(real[rows], other[rows]) for rows in subsets]
    np.testing.assert_allclose(found, want)
    kernels = originals(real).kernel_over(back, subsets)
    np.testing.assert_allclose(kernels, [kid(real[r], other[r]) for r in subsets])


@pytest.mark.parametrize("make", [originals, real_images])
def test_broken_features_are_refused_when_the_reference_is_made(real, make):
    real[3, 2] = np.nan
    with pytest.raises(MetricError, match="1 of 120 rows are not finite"):
        make(real)

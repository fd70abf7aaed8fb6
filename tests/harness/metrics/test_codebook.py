from __future__ import annotations

import numpy as np
import pytest

from medbench.harness.errors import MetricError
from medbench.harness.metrics.codebook import codebook_statistics, count_indices


def plug_in_bits(counts):
    p = counts[counts > 0] / counts.sum()
    return float(-(p * np.log2(p)).sum())


def test_uniform_use_gives_all_the_bits():
    found = codebook_statistics(np.full((3, 16), 1000))
    assert found.usage == 1.0
    assert found.entropy_bits == pytest.approx(3 * 4.0, abs=1e-12)
    assert found.perplexity == pytest.approx(16.0, abs=1e-9)
    assert found.positions == 16_000


def test_one_code_gives_none():
    counts = np.zeros((2, 8), dtype=np.int64)
    counts[:, 5] = 77
    found = codebook_statistics(counts)
    assert (found.usage, found.entropy_bits, found.perplexity) == (1 / 8, 0.0, 1.0)


def test_entropy_is_the_plug_in_value_plus_the_correction():
    counts = np.array([[50, 25, 25, 0]])
    want = 1.5 + (3 - 1) / (2 * 100 * np.log(2))
    found = codebook_statistics(counts)
    assert found.entropy_bits == pytest.approx(want, abs=1e-12)
    assert found.perplexity == pytest.approx(2**want, abs=1e-12)
    assert found.usage == 0.75


def test_codebooks_add_up_in_bits_and_average_in_usage_and_perplexity():
    counts = np.array([[400, 400, 0, 0], [200, 200, 200, 200]])
    found = codebook_statistics(counts)
    alone = [codebook_statistics(row[None]) for row in counts]
    assert found.usage == 0.75
    assert found.entropy_bits == pytest.approx(sum(a.entropy_bits for a in alone))
    assert found.perplexity == pytest.approx(np.mean([a.perplexity for a in alone]))
    np.testing.assert_allclose(found.entropy_bits_per_codebook, [a.entropy_bits for a in alone])


@pytest.mark.parametrize("law", ["uniform", "zipf"])
def test_the_correction_removes_most_of_the_bias_of_few_images(rng, law):
    """36 images of 256 positions on 4,096 codes: the plug-in value is 0.3 bit short."""
    weights = np.ones(4096) if law == "uniform" else 1.0 / np.arange(1, 4097)
    p = weights / weights.sum()
    truth = float(-(p * np.log2(p)).sum())
    draws = rng.multinomial(36 * 256, p, size=40)
    plug_in = np.mean([plug_in_bits(row) for row in draws]) - truth
    corrected = np.mean([codebook_statistics(row[None]).entropy_bits for row in draws]) - truth
    assert plug_in < -0.25
    assert abs(corrected) < 0.6 * abs(plug_in)


def test_never_claims_more_bits_than_the_codebook_has(rng):
    draws = rng.multinomial(2000, np.full(64, 1 / 64), size=50)
    assert all(codebook_statistics(row[None]).entropy_bits <= 6.0 for row in draws)


def test_histograms_of_parts_add_up(rng):
    indices = rng.integers(0, 32, (10, 3, 20))
    whole = count_indices(indices, 32)
    assert whole.shape == (3, 32)
    assert whole.dtype == np.int64
    np.testing.assert_array_equal(
        whole, count_indices(indices[:4], 32) + count_indices(indices[4:], 32)
    )
    assert whole[1, 7] == (indices[:, 1] == 7).sum()


@pytest.mark.parametrize("bad", [-1, 32])
def test_refuses_indices_outside_the_codebook(bad):
    indices = np.zeros((1, 1, 4), dtype=np.int64)
    indices[0, 0, 2] = bad
    with pytest.raises(MetricError, match=r"outside the codebook 0\.\.31"):
        count_indices(indices, 32)


@pytest.mark.parametrize("indices", [np.zeros((2, 4), dtype=np.int64), np.zeros((1, 1, 4))])
def test_refuses_indices_of_another_shape_or_type(indices):
    with pytest.raises(MetricError, match=r"\(B, K, L\)"):
        count_indices(indices, 32)


@pytest.mark.parametrize("counts", [[[1, 2], [2, 2]], [[0, 0]], [[-1, 3]]])
def test_refuses_counts_that_no_data_set_gives(counts):
    with pytest.raises(MetricError, match="one and the same positive number"):
        codebook_statistics(np.array(counts))


def test_refuses_counts_of_another_shape_or_type():
    with pytest.raises(MetricError, match=r"\(K, V\)"):
        codebook_statistics(np.ones((2, 3)))

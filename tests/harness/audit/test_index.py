from __future__ import annotations

import numpy as np
import pytest

from medbench.harness.audit.index import LARGEST_RADIUS, HashIndex, hamming


def brute_force(hashes, queries, radius):
    """Every pair by Python's own bit count."""
    return {
        (q, r, (int(a) ^ int(b)).bit_count())
        for q, a in enumerate(queries)
        for r, b in enumerate(hashes)
        if (int(a) ^ int(b)).bit_count() <= radius
    }


def found(index, queries, radius):
    parts = list(index.search(queries, radius))
    triples = [
        triple
        for part in parts
        for triple in zip(
            part.queries.tolist(), part.rows.tolist(), part.distances.tolist(), strict=True
        )
    ]
    assert len(triples) == len(set(triples)), "a pair was found twice"
    return set(triples)


def neighbours(rng, hashes, most):
    """Each hash with 0..most random bits flipped."""
    result = []
    for value in hashes.tolist():
        bits = rng.choice(64, rng.integers(0, most + 1), replace=False)
        result.append(value ^ sum(1 << int(bit) for bit in bits))
    return np.array(result, dtype=np.uint64)


@pytest.mark.parametrize("radius", [0, 3, 4, 7, 8, 11, LARGEST_RADIUS])
def test_search_finds_exactly_the_pairs_of_brute_force(rng, radius):
    hashes = rng.integers(0, 2**64, 200, dtype=np.uint64)
    hashes = np.concatenate([hashes, neighbours(rng, hashes, 16)])
    queries = neighbours(rng, hashes[:100], 16)
    expected = brute_force(hashes, queries, radius)
    assert expected
    assert found(HashIndex(hashes), queries, radius) == expected


def test_flips_spread_evenly_over_the_bands_are_found(rng):
    """The worst case of the pigeonhole: eleven flips as 3 + 3 + 3 + 2."""
    value = int(rng.integers(0, 2**63))
    flips = sum(0b111 << (16 * band) for band in range(3)) | 0b11 << 48
    index = HashIndex(np.array([value], dtype=np.uint64))
    query = np.array([value ^ flips], dtype=np.uint64)
    assert found(index, query, 11) == {(0, 0, 11)}
    assert found(index, query, 10) == set()


def test_many_equal_hashes_come_in_parts_and_complete(monkeypatch):
    monkeypatch.setattr("medbench.harness.audit.index._MOST_CANDIDATES", 1000)
    hashes = np.full(300, 7, dtype=np.uint64)
    parts = list(HashIndex(hashes).search(hashes, 11))
    assert max(len(part.rows) for part in parts) <= 1000
    assert len(found(HashIndex(hashes), hashes, 11)) == 300 * 300


def test_no_hashes_give_no_pairs():
    empty = np.array([], dtype=np.uint64)
    assert found(HashIndex(empty), np.array([1], dtype=np.uint64), 11) == set()
    assert found(HashIndex(np.array([1], dtype=np.uint64)), empty, 11) == set()


def test_hamming_counts_differing_bits():
    one, other = (np.array(v, dtype=np.uint64) for v in ([0, 5, 2**64 - 1], [0, 2**63, 0]))
    assert hamming(one, other).tolist() == [0, 3, 64]


def test_a_radius_beyond_the_guarantee_is_refused():
    with pytest.raises(ValueError, match="0 to 15"):
        list(HashIndex(np.array([1], dtype=np.uint64)).search(np.array([1], dtype=np.uint64), 16))

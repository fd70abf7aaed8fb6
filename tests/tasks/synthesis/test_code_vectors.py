"""Starting vectors from what codes are seen beside."""

import numpy as np
import pytest
import torch
from torch.nn.functional import cosine_similarity

from medbench.tasks.synthesis.generator.code_vectors import context_vectors, start_from_context
from medbench.tasks.synthesis.generator.config import read_config
from medbench.tasks.synthesis.generator.load import new_generator

CODES = 12


def config(books, layout):
    terms = {"dim": 16, "n_layer": 1, "n_head": 2, "multiple_of": 8, "num_classes": 2}
    sizes = {"vocab_size": books * CODES, "num_codebooks": books, "block_size": 16}
    return read_config(terms | sizes | {"layout": layout})


def images(books, count=400, seed=0):
    """Images of one colour each, its codes (1 to 4, 5 to 8, 9 to 11) at random; never 0."""
    rng = np.random.default_rng(seed)
    colours = np.array([[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 11]])
    chosen = rng.integers(3, size=count)
    draws = rng.integers(4, size=(count, books, 16))
    return colours[chosen[:, None, None], draws].astype(np.uint16), np.zeros(count, np.int64)


@pytest.mark.parametrize("layout", ["raster", "sequence"])
@pytest.mark.parametrize("books", [1, 3])
def test_codes_that_are_seen_beside_the_same_codes_start_near_each_other(books, layout):
    vectors = context_vectors(*images(books), config(books, layout), seed=0)
    assert vectors.shape == (books, CODES, 16)
    for book in vectors:
        assert float(book.std()) == pytest.approx(0.02, rel=1e-4)
        alike = cosine_similarity(book[None], book[:, None], dim=-1)
        same = alike[1:5, 1:5].min(), alike[5:9, 5:9].min(), alike[9:, 9:].min()
        other = alike[1:5, 5:9].max(), alike[1:5, 9:].max(), alike[5:9, 9:].max()
        assert min(same) > 0.7
        assert max(other) < 0.2


def test_codes_of_one_class_start_nearer_than_codes_of_two():
    rng = np.random.default_rng(0)
    classes = rng.integers(2, size=600)
    # Every code stands alone, without neighbours that say anything: only the class can tell.
    indices = (rng.integers(6, size=(600, 1, 16)) * 2 + classes[:, None, None]).astype(np.uint16)
    [book] = context_vectors(indices, classes, config(1, "raster"), seed=0)
    alike = cosine_similarity(book[None], book[:, None], dim=-1)
    assert alike[::2, ::2].min() > 0.7
    assert alike[::2, 1::2].max() < 0


def test_a_code_that_is_never_seen_starts_at_zero():
    vectors = context_vectors(*images(2), config(2, "raster"), seed=0)
    assert vectors[:, 0].abs().max() < 1e-6 < vectors[:, 1].abs().max()


@pytest.mark.parametrize("books", [1, 3])
def test_only_the_vectors_of_codes_are_changed_and_a_seed_gives_the_same(books):
    terms = config(books, "raster")
    plain, first, second, other = (new_generator(terms, seed=0) for _ in range(4))
    for network, seed in ((first, 0), (second, 0), (other, 1)):
        start_from_context(network, *images(books), seed=seed)
    changed = {
        name
        for name, value in first.state_dict().items()
        if not value.equal(plain.state_dict()[name])
    }
    tables = [f"tok_embeddings.codebooks.{book}.weight" for book in range(books)]
    tables += [f"output.codebooks.{book}.weight" for book in range(books - 1)]
    assert changed == (set(tables) if books > 1 else {"tok_embeddings.weight"})
    for name in changed:
        assert first.state_dict()[name].equal(second.state_dict()[name])
        assert not first.state_dict()[name].equal(other.state_dict()[name])
    assert all(torch.isfinite(value).all() for value in first.state_dict().values())

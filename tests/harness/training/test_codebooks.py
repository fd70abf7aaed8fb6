from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from medbench.harness.training import parallel
from medbench.harness.training.codebooks import CodebookKeeper, kmeans


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_kmeans_finds_well_separated_directions() -> None:
    centres = F.normalize(torch.randn(6, 8, generator=generator(1)), dim=1)
    noise = 0.02 * torch.randn(6, 200, 8, generator=generator(2))
    vectors = F.normalize(centres[:, None] + noise, dim=-1).flatten(0, 1)
    # More centres than groups, so that every group has one whatever the start.
    found = kmeans(vectors, 40, generator(), spherical=True)
    assert torch.allclose(found.norm(dim=1), torch.ones(40), atol=1e-5)
    assert ((centres @ found.T).amax(dim=1) > 0.995).all()


def test_kmeans_off_the_sphere_finds_means_of_any_length() -> None:
    centres = torch.tensor([[0.0, 0.0], [5.0, 0.0], [10.0, 0.0]])
    noise = 0.1 * torch.randn(3, 200, 2, generator=generator(2))
    found = kmeans((centres[:, None] + noise).flatten(0, 1), 20, generator(), spherical=False)
    assert (torch.cdist(centres, found).amin(dim=1) < 0.1).all()


def test_kmeans_with_fewer_vectors_than_centres_repeats_them() -> None:
    vectors = torch.eye(4)
    found = kmeans(vectors, 10, generator(), spherical=True)
    assert found.shape == (10, 4)
    assert ((found @ vectors.T).amax(dim=1) > 0.999).all()


def test_kmeans_quantises_better_than_random_vectors() -> None:
    vectors = F.normalize(torch.randn(3000, 4, generator=generator()), dim=1)
    found = kmeans(vectors, 64, generator(), spherical=True)
    picked = vectors[torch.randperm(3000, generator=generator())[:64]]
    assert (vectors @ found.T).amax(1).mean() > (vectors @ picked.T).amax(1).mean() + 0.005


@pytest.fixture
def keeper() -> CodebookKeeper:
    books = [torch.zeros(4, 3), torch.zeros(2, 3)]
    return CodebookKeeper(books, spherical=False)


def test_usage_is_the_mean_over_the_first_hundred_batches(keeper) -> None:
    vectors = torch.randn(4, 2, 3, generator=generator())
    shares = [[0, 0, 1, 1], [0, 2, 2, 2], [1, 1, 1, 2]]
    for taken in shares:
        keeper.observe(vectors, torch.tensor([taken, [0, 1, 1, 1]]).T)
    expected = torch.tensor([3, 5, 4, 0]) / 12
    torch.testing.assert_close(keeper.usage[0], expected)
    torch.testing.assert_close(keeper.usage[1], torch.tensor([0.25, 0.75]))


def test_live_is_the_share_of_codes_with_a_tenth_of_an_even_share(keeper) -> None:
    assert keeper.live == 1
    keeper.usage[0][:] = torch.tensor([0.024, 0.026, 0.95, 0.0])
    assert keeper.live == pytest.approx((0.5 + 1) / 2)


def test_revived_codes_stand_on_vectors_of_the_last_batch_and_count_as_used(keeper) -> None:
    vectors = torch.randn(5, 2, 3, generator=generator())
    keeper.observe(vectors, torch.zeros(5, 2, dtype=torch.int64))
    keeper.usage[0][:] = torch.tensor([0.5, 0.0, 0.5, 0.0])
    keeper.usage[1][:] = 0.5
    keeper.revive(generator())
    book = keeper.books[0]
    assert not book[[0, 2]].any()
    assert all((vectors[:, 0] == code).all(dim=1).any() for code in book[[1, 3]])
    assert not keeper.books[1].any()
    assert keeper.usage[0].tolist() == [0.5, 0.25, 0.5, 0.25]


def test_nothing_is_revived_before_a_batch_was_seen(keeper) -> None:
    keeper.usage[0][:] = 0
    keeper.revive(generator())
    assert not keeper.books[0].any()


def test_a_taken_up_keeper_has_the_same_usage(keeper) -> None:
    vectors = torch.randn(4, 2, 3, generator=generator())
    indices = torch.tensor([[0, 0, 1, 3], [0, 1, 1, 1]]).T
    keeper.observe(vectors, indices)
    other = CodebookKeeper([torch.zeros(4, 3), torch.zeros(2, 3)], spherical=False)
    other.load_state_dict(keeper.state_dict())
    for each in (keeper, other):
        each.observe(vectors, indices.flip(0) % 2)
    assert all(map(torch.equal, keeper.usage, other.usage))


def test_codes_that_no_vector_took_since_their_revival_wait_and_do_not_live(keeper) -> None:
    vectors = torch.randn(4, 2, 3, generator=generator())
    keeper.observe(vectors, torch.zeros(4, 2, dtype=torch.int64))
    assert (keeper.live, keeper.waiting) == (pytest.approx(3 / 8), 0)
    keeper.revive(generator())
    assert (keeper.live, keeper.waiting) == (pytest.approx(3 / 8), pytest.approx(5 / 8))
    keeper.observe(vectors, torch.tensor([[0, 0, 1, 1], [0, 0, 0, 1]]).T)
    assert (keeper.live, keeper.waiting) == (pytest.approx(3 / 4), pytest.approx(1 / 4))
    other = CodebookKeeper([torch.zeros(4, 3), torch.zeros(2, 3)], spherical=False)
    other.load_state_dict(keeper.state_dict())
    assert (other.live, other.waiting) == (keeper.live, keeper.waiting)


def test_codes_are_revived_from_the_vectors_of_all_processes_in_their_order(monkeypatch) -> None:
    whole = torch.randn(6, 1, 3, generator=generator(1))
    books = []
    for rows in (slice(0, 6), slice(0, 3), slice(3, 6)):
        keeper = CodebookKeeper([torch.zeros(4, 3)], spherical=False)
        keeper.observe(whole[rows], torch.zeros(len(whole[rows]), 1, dtype=torch.int64))
        monkeypatch.setattr(parallel, "gather_rows", lambda _: whole)
        keeper.revive(generator())
        books.append(keeper.books[0])
    assert books[0][1:].any(dim=1).all()
    assert torch.equal(books[0], books[1])
    assert torch.equal(books[0], books[2])

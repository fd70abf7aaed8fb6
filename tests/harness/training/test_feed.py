from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import pytest
import torch

from medbench.harness.errors import UsageError
from medbench.harness.training import parallel
from medbench.harness.training.feed import Batch, Feed
from medbench.harness.training.sources.build import build_source
from medbench.harness.training.sources.source import TrainingImage, sample_generator


@dataclass(frozen=True)
class Noise:
    """Images that follow from their position; some cannot be read."""

    damaged: frozenset[int] = frozenset()
    size: int | None = None
    fingerprint: str = ""

    def sample(self, position: int, side: int) -> TrainingImage:
        image = torch.rand(3, side, side, generator=sample_generator(7, position))
        problems = (f"{position}.png is damaged",) if position in self.damaged else ()
        return TrainingImage(image, f"text {position}", f"label {position}", "ct", problems)


def plan(step: int) -> tuple[int, int]:
    """Six small images, and from step 2 on two large ones."""
    return (6, 8) if step < 2 else (2, 16)


def take(feed: Feed, first_step: int, count: int) -> list[Batch]:
    batches: Iterator[Batch] = feed.batches(first_step)
    taken = list(islice(batches, count))
    batches.close()  # pyright: ignore[reportAttributeAccessIssue]
    return taken


def same(first: Batch, second: Batch) -> bool:
    return (
        torch.equal(first.images, second.images)
        and first.texts == second.texts
        and first.labels == second.labels
        and first.modalities == second.modalities
        and first.positions == second.positions
    )


def test_positions_run_on_through_parts_steps_and_changes_of_the_plan() -> None:
    batches = take(Feed(Noise(), plan, 2), 0, 7)
    bounds = [(0, 6), (6, 12), (12, 18), (18, 24), (24, 26), (26, 28), (28, 30)]
    assert [(b.positions.start, b.positions.stop) for b in batches] == bounds
    assert batches[1].texts == [f"text {p}" for p in range(6, 12)]
    assert batches[4].images.shape == (2, 3, 16, 16)
    expected = Noise().sample(25, 16).image
    assert torch.equal(batches[4].images[1], expected)


@pytest.mark.parametrize("first_step", [1, 3])
def test_a_run_that_is_taken_up_gets_the_batches_that_were_to_come(first_step) -> None:
    whole = take(Feed(Noise(), plan, 2), 0, 10)
    resumed = take(Feed(Noise(), plan, 2), first_step, 3)
    assert all(map(same, resumed, whole[2 * first_step :]))


@pytest.mark.parametrize("processes", [2, 3])
def test_processes_share_the_rows_of_one_batch(monkeypatch, processes) -> None:
    whole = take(Feed(Noise(), lambda _: (6, 8), 1), 0, 3)
    monkeypatch.setattr(parallel, "world_size", lambda: processes)
    shares = []
    for rank in range(processes):
        monkeypatch.setattr(parallel, "rank", lambda rank=rank: rank)
        shares.append(take(Feed(Noise(), lambda _: (6, 8), 1), 0, 3))
    for step, batch in enumerate(whole):
        parts = [share[step] for share in shares]
        assert torch.equal(torch.cat([part.images for part in parts]), batch.images)
        assert [text for part in parts for text in part.texts] == batch.texts
        assert [p for part in parts for p in part.positions] == list(batch.positions)


def test_a_batch_that_cannot_be_shared_evenly_is_refused(monkeypatch) -> None:
    monkeypatch.setattr(parallel, "world_size", lambda: 4)
    with pytest.raises(UsageError, match="6 cannot be shared evenly by 4"):
        take(Feed(Noise(), plan, 1), 0, 1)


@pytest.fixture(scope="module")
def pools(tmp_path_factory) -> tuple[Path, dict]:
    changes = ("blend", "grey", "duotone", "shift", "invert", "gamma", "contrast")
    augmentation = {"natural_scale": 0.5, "zoom": [0.5, 2.0], **dict.fromkeys(changes, 0.4)}
    listed = {"kind": "dataset", "dataset": "medsynth@val", "limit": 1, "caption": "caption"}
    painted = {
        "kind": "pools",
        "pools": [{"source": "medsynth", "count": 9, "size": 64}],
        "shares": [1.0],
        "augmentation": augmentation,
    }
    terms = {"kind": "mixture", "sources": [painted, listed], "shares": [0.7, 0.3]}
    return tmp_path_factory.mktemp("cache"), terms


def test_workers_make_the_same_batches_and_draw_nothing_from_the_global_source(pools) -> None:
    cache, terms = pools
    source = build_source(terms, seed=3, cache=cache)
    alone = take(Feed(source, plan, 2), 0, 6)
    state = torch.get_rng_state()
    helped = take(Feed(source, plan, 2, workers=2), 0, 6)
    assert all(map(same, alone, helped))
    assert helped[0].images.dtype == torch.float32
    assert torch.equal(torch.get_rng_state(), state)


def test_an_error_of_a_worker_arrives_as_it_was_raised(tmp_path) -> None:
    (tmp_path / "ct").mkdir()
    (tmp_path / "ct" / "a.png").write_bytes(b"damaged")
    terms = {"kind": "dataset", "dataset": f"folder:{tmp_path}"}
    source = build_source(terms, seed=0, cache=tmp_path)
    with pytest.raises(UsageError, match=r"^1 images one after the other cannot be used: "):
        take(Feed(source, plan, 1, workers=1), 0, 3)


def test_damaged_images_are_told_of_once_each(caplog) -> None:
    source = Noise(damaged=frozenset({3, 20}))
    with caplog.at_level(logging.WARNING):
        take(Feed(source, lambda _: (10, 8), 1), 0, 5)
    told = [record.getMessage() for record in caplog.records]
    assert told == ["left out: 3.png is damaged", "left out: 20.png is damaged"]


def test_a_run_ends_where_too_many_images_are_damaged() -> None:
    source = Noise(damaged=frozenset(range(0, 200, 2)))
    with pytest.raises(UsageError, match=r"12 of 24 training images cannot be used, .*png"):
        take(Feed(source, lambda _: (8, 8), 1), 0, 20)

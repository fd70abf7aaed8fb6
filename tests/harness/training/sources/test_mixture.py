from __future__ import annotations

from dataclasses import dataclass, field

import pytest
import torch

from medbench.harness.errors import UsageError
from medbench.harness.training.sources.mixture import BLOCK, MixedSource
from medbench.harness.training.sources.source import TrainingImage


@dataclass
class Named:
    name: str
    size: int | None = None
    fingerprint: str = ""
    asked: list[int] = field(default_factory=list)

    def sample(self, position: int, side: int) -> TrainingImage:
        self.asked.append(position)
        return TrainingImage(torch.zeros(3, side, side), self.name)


@pytest.mark.parametrize("shares", [(1.0, 1.0, 1.0), (0.2, 0.5, 0.3), (6, 3, 1)])
def test_every_source_gets_its_share_and_runs_through_its_own_positions(shares) -> None:
    sources = [Named(name) for name in "abc"]
    mixed = MixedSource(sources, shares, seed=0)
    for position in range(2 * BLOCK):
        mixed.sample(position, 8)
    for source, share in zip(sources, shares, strict=True):
        assert len(source.asked) == pytest.approx(2 * BLOCK * share / sum(shares), abs=2)
        assert source.asked == list(range(len(source.asked)))


def test_a_place_in_the_mixture_does_not_depend_on_what_was_asked_before() -> None:
    sources = [Named(name) for name in "ab"]
    mixed = MixedSource(sources, (0.3, 0.7), seed=0)
    texts = [mixed.sample(position, 8).text for position in range(BLOCK + 50)]
    again = MixedSource([Named(name) for name in "ab"], (0.3, 0.7), seed=0)
    assert again.sample(BLOCK + 41, 8).text == texts[BLOCK + 41]
    assert texts[:50] != texts[BLOCK:]  # another order in each block


@pytest.mark.parametrize(("sizes", "size"), [((3, 4), 7), ((3, None), None)])
def test_the_images_of_a_mixture_are_those_of_its_sources(sizes, size) -> None:
    assert MixedSource([Named("", each) for each in sizes], (1, 1), seed=0).size == size


@pytest.mark.parametrize("shares", [(), (1.0,), (1.0, -1.0), (0.0, 0.0), (1.0, 1e-6)])
def test_shares_that_cannot_be_are_refused(shares) -> None:
    with pytest.raises(UsageError, match="share"):
        MixedSource([Named("a"), Named("b")], shares, seed=0)


def test_the_fingerprint_of_a_mixture_is_of_all_its_lists() -> None:
    sources = [Named("a", fingerprint="3 images ab"), Named("b"), Named("c", fingerprint="1 cd")]
    assert MixedSource(sources, (1, 1, 1), seed=0).fingerprint == "3 images ab + 1 cd"

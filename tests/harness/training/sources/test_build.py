from __future__ import annotations

from typing import Any

import pytest
import torch

from medbench.harness.cache import contents
from medbench.harness.errors import UsageError
from medbench.harness.training.sources.build import build_source

PLAIN = {
    "natural_scale": 1.0,
    "zoom": [0.5, 2.0],
    **dict.fromkeys(("blend", "grey", "duotone", "shift", "invert", "gamma", "contrast"), 0.0),
}
POOLS: dict[str, Any] = {
    "kind": "pools",
    "pools": [
        {"source": "textures", "count": 2, "size": 32},
        {"source": "medsynth", "count": 9, "size": 32},
    ],
    "shares": [0.5, 0.5],
    "augmentation": PLAIN,
}


def test_pools_are_painted_into_the_cache_where_it_shows_them(tmp_path) -> None:
    images = build_source(POOLS, seed=0, cache=tmp_path)
    samples = [images.sample(position, 32) for position in range(20)]
    assert images.size is None
    assert {sample.modality == "" for sample in samples} == {True, False}
    assert all(bool(sample.text) == bool(sample.modality) for sample in samples)
    found = contents(tmp_path)
    assert [entry.kind for entry in found.entries] == ["pools", "pools"]
    assert not found.unknown


def test_a_mixture_has_the_images_of_its_sources(tmp_path) -> None:
    listed = {"kind": "dataset", "dataset": "medsynth@val", "limit": 1, "caption": "modality"}
    terms = {"kind": "mixture", "sources": [POOLS, listed], "shares": [0.5, 0.5]}
    images = build_source(terms, seed=0, cache=tmp_path)
    texts = [images.sample(position, 32).text for position in range(30)]
    assert any(text.startswith("A ") and text.endswith(" image") for text in texts)
    assert "" in texts


def test_sources_of_one_mixture_draw_apart(tmp_path) -> None:
    terms = {"kind": "mixture", "sources": [POOLS, POOLS], "shares": [1, 1]}
    images = build_source(terms, seed=0, cache=tmp_path)
    views = torch.stack([images.sample(position, 16).image for position in range(40)])
    assert len(torch.unique(views.flatten(1), dim=0)) == 40


@pytest.mark.parametrize(
    ("terms", "message"),
    [
        ({"kind": "photos"}, "data.kind is 'photos'; known: pools, dataset, mixture"),
        ({}, "data.kind is None"),
        ("medsynth", "data.kind is 'medsynth'"),
        ({**POOLS, "share": 1}, "data has unknown terms: share"),
        ({"kind": "pools", "pools": [], "shares": []}, "data lacks augmentation"),
        (
            {"kind": "mixture", "sources": [{"kind": "?"}], "shares": [1.0]},
            r"data.sources\[0\].kind is '\?'",
        ),
    ],
)
def test_terms_that_cannot_be_are_refused(tmp_path, terms, message) -> None:
    with pytest.raises(UsageError, match=message):
        build_source(terms, seed=0, cache=tmp_path)

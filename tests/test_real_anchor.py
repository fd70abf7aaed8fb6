"""The sentences beside the probes of real images, on a small set."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from medbench.harness.request import Request
from medbench.harness.runner import execute
from medbench.harness.vocabulary import ORIGINALS
from medbench.tasks.recon import classifier
from medbench.tasks.recon.retention import RECIPE


@pytest.fixture(scope="module")
def page():
    path = Path(__file__).parents[1] / "benchmarks" / "real_anchor.py"
    spec = importlib.util.spec_from_file_location("real_anchor", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """A probe of raw pixels, and a classifier trained on the same set."""
    folder, rng = tmp_path_factory.mktemp("anchor"), np.random.default_rng(0)
    arrays = {}
    for split, count in {"train": 64, "val": 32, "test": 48}.items():
        labels = np.arange(count) % 2
        noise = rng.integers(0, 120, (count, 32, 32))
        arrays[f"{split}_images"] = (60 + 25 * labels[:, None, None] + noise).astype(np.uint8)
        arrays[f"{split}_labels"] = labels
    np.savez(folder / "set.npz", **arrays)
    found = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(classifier, "RECIPE", replace(RECIPE, steps=30, batch=16, side=32))
        for task, tokenizer, options in (
            ("probe", "pixels", {}),
            ("recon", "down16", {"retention": "yes"}),
        ):
            request = Request(
                tokenizers=[tokenizer],
                tasks=[task],
                dataset=f"npz@mri:{folder / 'set.npz'}",
                output=folder / "results",
                options=options,
            )
            (cell,) = execute(request).cells
            assert cell.error is None
            found.append(cell.record)
    return found


def with_auc(record, value, margin=0.02, **changes):
    metrics = [
        replace(m, value=value, low=value - margin, high=value + margin)
        if m.name == "auc" and m.setting in ("", ORIGINALS)
        else m
        for m in record.metrics
    ]
    return record.model_copy(update={"metrics": metrics, **changes})


def test_the_records_of_both_runs_are_of_the_same_images_and_stand_in_one_row(page, measured):
    probe, ceiling = measured
    own, above = probe.metric("auc", "all"), ceiling.metric("auc", "all", ORIGINALS)
    text = page.anchor_text([probe], [ceiling], "pixels@reference")
    row = text.splitlines()[2]
    for metric in (own, above):
        assert f"{100 * metric.value:.1f} ±{50 * (metric.high - metric.low):.1f}" in row


@pytest.mark.parametrize(
    ("own", "ceiling", "words"),
    [
        (0.8, 0.9, "better than chance; below the trained classifier; above 1"),
        (0.8, 0.81, "below the trained classifier, intervals overlapping"),
        (0.8, 0.7, "**above the trained classifier**"),
        (0.51, 0.9, "**not told apart from chance**"),
        (0.8, None, "no trained classifier beside it"),
    ],
)
def test_what_the_page_says_of_the_anchor_follows_from_the_numbers(
    page, measured, own, ceiling, words
):
    probe, above = measured
    trained = [
        with_auc(probe, value, tokenizer=name, variant="tiny")
        for name, value in {"weak": 0.5, "strong": 0.95}.items()
    ]
    ceilings = [] if ceiling is None else [with_auc(above, ceiling)]
    text = page.anchor_text([with_auc(probe, own), *trained], ceilings, "pixels@reference")
    assert words in text
    assert "above 1 of 2 trained rows: weak." in text


def test_the_text_replaces_what_stood_between_the_marks(page):
    marked = "a\n<!-- anchor:begin -->\nold\n<!-- anchor:end -->\nb\n"
    once = page.with_anchor(marked, "new \\1")
    assert once == "a\n<!-- anchor:begin -->\nnew \\1\n<!-- anchor:end -->\nb\n"
    assert page.with_anchor(once, "new \\1") == once

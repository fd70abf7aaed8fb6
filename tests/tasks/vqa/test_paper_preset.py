from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from medbench.tasks.vqa import presets
from medbench.tasks.vqa.language import small_language

from .conftest import TERMS, measure

PAPER = presets.PRESETS["paper"]
LITTLE = replace(
    PAPER,
    captions="train",
    pairs="train",
    images=2,
    projector=replace(PAPER.projector, batch=16),
    tuning=replace(PAPER.tuning, batch=16),
    new_tokens=3,
    samples=(0,),
)
"""The paper's preset, but for its data, its batches and the length of its answers."""


@pytest.fixture
def published(vocabulary, tmp_path, monkeypatch):
    """A random Mistral where the published language model is looked for."""
    monkeypatch.setenv("MEDBENCH_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setenv("MEDBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(presets.PRESETS, "paper", LITTLE)
    folder = tmp_path / "weights" / PAPER.pretrained.folder
    language = small_language(TERMS, vocabulary, seed=0)
    language.model.save_pretrained(folder)
    language.tokenizer.save_pretrained(folder)
    return folder


def answers(record, results):
    (place,) = results.rglob(record.per_image)
    return pd.read_parquet(place)["answer"].tolist()


@pytest.mark.slow
def test_the_papers_preset_teaches_merges_saves_and_answers_as_its_folder_does(published, tmp_path):
    pytest.importorskip("peft")
    record = measure(tmp_path / "taught", options={"preset": "paper"})
    assert record.status == "ok"
    for setting in ("", "t=0.2", "blind", "shuffled", "majority"):
        assert record.metric("overall", "all", setting).value is not None, setting

    # The adapters learnt something in bfloat16 and are merged into all blocks of the folder.
    (folder,) = (tmp_path / "cache").glob("vqa/tuning-*/model")
    before = load_file(published / "model.safetensors")
    after = load_file(folder / "model.safetensors")
    assert set(after) == set(before)
    changed = {n for n in after if not torch.equal(after[n].float(), before[n].bfloat16().float())}
    assert changed == {name for name in after if "_proj" in name}

    again = measure(tmp_path / "given", options={"model": str(folder)})
    assert again.status == "ok"
    own = answers(record, tmp_path / "taught")
    assert any(own)
    assert answers(again, tmp_path / "given") == own

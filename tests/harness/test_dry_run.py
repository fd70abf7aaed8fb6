from __future__ import annotations

import json

import pytest

from medbench.__main__ import invoke
from medbench.tasks.vqa import outline
from medbench.tasks.vqa.presets import SmallLanguage


@pytest.fixture
def small(monkeypatch):
    """The published language model's outline, at a size that takes no time."""
    shape = SmallLanguage(
        hidden=32, layers=1, heads=4, key_value_heads=2, intermediate=48, vocabulary=320
    )
    monkeypatch.setattr(outline, "MISTRAL_7B", shape)


def test_the_papers_run_is_outlined_without_its_weights_and_data(small, tmp_path, capsys):
    pytest.importorskip("peft")
    output = tmp_path / "results"
    command = ["run", "--tokenizer", "meditok", "--task", "vqa", "--preset", "paper"]
    assert invoke([*command, "--limit", "2", "--output", str(output), "--dry-run"]) == 0
    text = capsys.readouterr().out
    assert "meditok@tiny / vqa on medsynth: 18 images" in text
    assert "learns on pubmedvision@alignment: all of each group" in text
    assert "USER: <image>" in text
    assert "rate 0.0002" in text
    assert "1 epochs of 555,103 as published (2,168 steps)" in text
    assert "2 epochs of 100,000 as published (780 steps)" in text
    assert not output.exists()


def test_every_cell_is_named_with_its_options_for_machines(tmp_path, capsys):
    names = ["--tokenizer", "mean", "--tokenizer", "down8"]
    command = ["run", *names, "--task", "recon", "--limit", "1", "--seed", "3", "--dry-run"]
    assert invoke([*command, "--output", str(tmp_path / "results"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [cell["tokenizer"] for cell in found] == ["mean@reference", "down8@reference"]
    assert {(c["task"], c["dataset"], c["images"], c["seed"]) for c in found} == {
        ("recon", "medsynth", 9, 3)
    }
    assert not (tmp_path / "results").exists()


def test_what_a_run_would_refuse_is_refused(capsys):
    command = ["run", "--tokenizer", "mean", "--task", "recon", "--dry-run"]
    assert invoke([*command, "--preset", "tiny"]) == 2
    assert "--preset is not an option" in capsys.readouterr().err

"""What the tests of sweeps share: a file, and tokenizers that behave oddly."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from medbench.harness.sweep.cells import SweepCell


@pytest.fixture
def spec_file(tmp_path) -> Path:
    """A sweep of two bounds."""
    path = tmp_path / "sweep.yaml"
    path.write_text(
        "tokenizers: [mean, down16]\n"
        "tasks: [{name: recon, datasets: [sample], limit: 1}]\n"
        "at_a_time: 2\n"
    )
    return path


@pytest.fixture
def factory(tmp_path, monkeypatch) -> Callable[[str], SweepCell]:
    """Makes a tokenizer's factory of its body, and gives the cell that calls it."""

    def write(body: str) -> SweepCell:
        lines = "\n".join(f"    {line}" for line in body.splitlines())
        (tmp_path / "odd.py").write_text(f"def build(**terms):\n{lines}\n")
        return SweepCell("odd:build", "recon", "sample", limit=1)

    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "odd", raising=False)
    return write

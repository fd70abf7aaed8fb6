"""Records made from the committed one, for tests of tables and ranks."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from medbench.harness.record import Record
from medbench.harness.record_metric import Definition, metric_of

TEMPLATE = Path(__file__).parent.parent / "records" / "v1_recon.json"


@pytest.fixture
def make():
    """make("a", psnr=30.0, kind="discrete", status="ok", shift=…) -> a record."""

    def record(name, *, psnr=30.0, kind="discrete", status="ok", definition=None, spread=0.1):
        data = json.loads(TEMPLATE.read_text())
        data |= {"tokenizer": name, "variant": "v", "status": status}
        data["info"] |= {"name": name, "variant": "v", "kind": kind}
        if status == "suspect":
            data["status_reason"] = "does not beat the trivial bound mean"
        noise = np.random.default_rng(0).normal(0, spread, 1000)
        for metric in data["metrics"]:
            if metric["name"] == "psnr":
                metric["value"] = psnr
                metric["low"], metric["high"] = psnr - 0.2, psnr + 0.2
                if metric["group"] == "macro":
                    metric["replicates"] = (psnr + noise).tolist()
        if definition is not None:
            facts = next(m["definition"] for m in data["metrics"] if m["name"] == "psnr")
            data["definitions"][facts]["facts"]["range"] = definition
            new = Definition.model_validate(data["definitions"][facts]).hash
            for metric in data["metrics"]:
                if metric["definition"] == facts:
                    metric["definition_hash"] = new
        return Record.model_validate(data)

    return record


SEEDS = (4.0, 4.5, 5.0, 5.5, 6.0)
"""Of deviation 0.79."""


@pytest.fixture
def make_synthesis(make):
    """make_synthesis("a", preset="tiny"): a record of synthesis with the KID's two kinds."""

    def record(name, *, preset="tiny", options=None):
        definition = Definition(id="made", facts={"preset": preset})
        base = make(name)
        metrics = [
            metric_of("gfid", "all", definition, value=5.0, n=9, replicates=SEEDS, low=4, high=6),
            *(
                metric_of(metric, "all", definition, setting=setting, value=value, n=9)
                for metric, setting, value in (
                    *(("gfid", "real", 1.0), ("kid", "", 0.1), ("kid", "real", 0.01)),
                    *(("kid", "floor", 0.02), ("kid_random", "", 0.3)),
                    ("class_accuracy", "real", 0.9),
                )
            ),
        ]
        identity = base.identity.model_copy(update={"options": options or {"preset": preset}})
        fields = {"task": "synthesis", "metrics": metrics, "identity": identity}
        made = base.model_copy(update={**fields, "definitions": {"made": definition}})
        return Record.model_validate_json(made.model_dump_json())

    return record


@pytest.fixture(scope="session")
def bounds_results(tmp_path_factory):
    """Real records of three bounds, four images a modality; copy before changing anything."""
    from medbench.__main__ import invoke

    folder = tmp_path_factory.mktemp("bounds") / "results"
    names = [option for name in ("mean", "down8", "down16") for option in ("--tokenizer", name)]
    options = ["--task", "recon", "--limit", "4", "--output", str(folder)]
    assert invoke(["run", *names, *options]) == 0
    return folder


@pytest.fixture
def results(bounds_results, tmp_path):
    """A copy of the bounds' records."""
    import shutil

    return shutil.copytree(bounds_results, tmp_path / "results")

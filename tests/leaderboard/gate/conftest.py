"""Simulated measurements: records with per-image rows in memory, no files."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from medbench.harness.record import Metric, Record
from medbench.harness.record_files import Stored

TEMPLATE = Path(__file__).parent.parent.parent / "records" / "v1_recon.json"
MODALITIES = ("ct", "dermoscopy", "endoscopy", "fundus", "mri", "pathology", "ultrasound", "xray")
SCALES = {"psnr": 1.0, "ssim": 0.02, "ms_ssim": 0.01}
LEVELS = {"psnr": 30.0, "ssim": 0.7, "ms_ssim": 0.8}


@dataclass(frozen=True, slots=True)
class Simulated(Stored):
    """A record whose per-image rows are in memory."""

    table: pd.DataFrame | None = None

    def rows(self):
        return self.table


@dataclass(frozen=True)
class Lab:
    """Makes measurements of the same images."""

    template: Record
    per_modality: int = 16

    @property
    def count(self):
        return self.per_modality * len(MODALITIES)

    def scores(self, rng):
        """(metrics, images) scores of a system."""
        common = rng.normal(size=self.count)
        return np.array(
            [
                LEVELS[name] + SCALES[name] * (2 * common + rng.normal(size=self.count))
                for name in SCALES
            ]
        )

    def changes(self, rng, size=0.2):
        """Differences of images between two equally good systems; the metrics agree for the
        most part, as real ones do.
        """
        common = rng.normal(size=self.count)
        own = rng.normal(size=(len(SCALES), self.count))
        scale = size * np.array(list(SCALES.values()))[:, None]
        return scale * (0.9 * common + np.sqrt(1 - 0.9**2) * own)

    def measured(self, scores, *, name="lab@tiny", **fields):
        groups = np.repeat(MODALITIES, self.per_modality)
        table = pd.DataFrame(
            {
                "id": [f"{g}/{i}" for i, g in enumerate(groups)],
                "group": groups,
                "patient": None,
                **dict(zip(SCALES, scores, strict=True)),
            }
        )
        metrics = []
        for metric in SCALES:
            facts = self.template.metric(metric, "macro")
            means = np.reshape(table[metric].to_numpy(), (len(MODALITIES), -1)).mean(axis=1)
            values = [*means.tolist(), float(means.mean())]
            for group, value in zip([*MODALITIES, "macro"], values, strict=True):
                metrics.append(
                    Metric(
                        name=metric,
                        group=group,
                        value=value,
                        n=self.count,
                        direction="higher",
                        definition=facts.definition,
                        definition_hash=facts.definition_hash,
                    )
                )
        tokenizer, _, variant = name.partition("@")
        record = self.template.model_copy(
            update={"metrics": metrics, "tokenizer": tokenizer, "variant": variant, **fields}
        )
        return Simulated(Path(f"{name}.json"), record, table)


@pytest.fixture(scope="session")
def lab():
    template = Record.model_validate(json.loads(TEMPLATE.read_text()))
    groups = dict.fromkeys(MODALITIES, 16)
    dataset = template.dataset.model_copy(update={"groups": groups, "n": 128})
    return Lab(template.model_copy(update={"dataset": dataset}))

"""The per-image table of a probe: what each test image was taken for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

    from .measure import Answers


def per_image_table(ids: Sequence[str], answers: Sequence[Answers]) -> pd.DataFrame:
    """One row per test image of the groups that were probed.

    Args:
        ids: of the images of the scored store, by row.
        answers: of the groups.

    Returns:
        `id`, `group`, `patient`, `sha256`, `label`; `setting` (empty: the main one), `penalty`,
        `classes` and the `scores` of this image for them, log-probabilities: from these columns
        every aggregate follows. `correct` is 1 where the highest score is the label's; NaN in
        multi-label sets.
    """
    import pandas as pd

    rows: list[dict[str, Any]] = []
    for answer in answers:
        rows += _rows_of(ids, answer)
    return pd.DataFrame(rows)


def _rows_of(ids: Sequence[str], answer: Answers) -> list[dict[str, Any]]:
    group, test = answer.group, answer.group.parts["test"]
    truth = group.truth["test"]
    if group.multi_label:
        correct = np.full(len(truth), np.nan)
    else:
        correct = (answer.scores.argmax(axis=1) == truth).astype(np.float64)
    return [
        {
            "id": ids[row],
            "group": group.name,
            "patient": patient or None,
            "sha256": sha256,
            "label": label,
            "setting": answer.setting,
            "penalty": answer.penalty,
            "correct": right,
            "classes": list(group.classes),
            "scores": scores.tolist(),
        }
        for row, patient, sha256, label, right, scores in zip(
            test.rows, test.patients, test.hashes, test.labels, correct, answer.scores, strict=True
        )
    ]

"""The per-image table of a probe: what each test image was taken for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .pool import paper_pool

if TYPE_CHECKING:
    import pandas as pd

    from .measure import Answers


def per_image_table(answers: Sequence[Answers], dataset_id: str) -> pd.DataFrame:
    """One row per test image of the groups that were probed.

    Args:
        answers: of the groups.
        dataset_id: of the scored set.

    Returns:
        `id`, `group`, `patient`, `sha256`, `label`; `setting` (empty: the main one), `penalty`,
        `classes` and the `scores` of this image for them, log-probabilities: from these columns
        every aggregate follows. `correct` is 1 where the highest score is the label's; NaN in
        multi-label sets. `lp_paper` tells which images the paper's protocol scores (`pool_ids`
        lists those of the validation part as well).
    """
    import pandas as pd

    rows: list[dict[str, Any]] = []
    for answer in answers:
        rows += _rows_of(answer, dataset_id)
    return pd.DataFrame(rows)


def _rows_of(answer: Answers, dataset_id: str) -> list[dict[str, Any]]:
    group, test = answer.group, answer.group.parts["test"]
    in_pool = np.zeros(len(test.rows), dtype=bool)
    in_pool[paper_pool(group, dataset_id)["test"]] = True
    truth = group.truth["test"]
    if group.multi_label:
        correct = np.full(len(truth), np.nan)
    else:
        correct = (answer.scores.argmax(axis=1) == truth).astype(np.float64)
    return [
        {
            "id": id_,
            "group": group.name,
            "patient": patient or None,
            "sha256": sha256,
            "label": label,
            "setting": answer.setting,
            "penalty": answer.penalty,
            "correct": right,
            "classes": list(group.classes),
            "scores": scores.tolist(),
            "lp_paper": pooled,
        }
        for id_, patient, sha256, label, right, scores, pooled in zip(
            *(test.ids, test.patients, test.hashes, test.labels),
            *(correct, answer.scores, in_pool.tolist()),
            strict=True,
        )
    ]

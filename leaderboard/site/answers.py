"""Questions with their answers, from a record's per-image rows, beside the pictures it holds."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from ...harness.record_files import Stored
from .gallery import Picture

_COLUMNS = ("id", "group", "kind", "question", "reference", "answer", "correct")
_MOST = 24


@dataclass(frozen=True, slots=True)
class Answer:
    """One question of the record."""

    group: str
    kind: str
    question: str
    reference: str
    answer: str
    right: bool
    picture: Picture | None


def answers(stored: Stored, pictures: Sequence[Picture]) -> list[Answer]:
    """Some questions, the same for every tokenizer: those whose ids hash lowest.

    None where the rows hold no questions, or their licence keeps the images local: questions say
    what is on them.

    Raises:
        ValueError: the file of rows is damaged.
    """
    path = stored.rows_path
    if path is None or stored.record.dataset.pixels != "publish":
        return []
    try:
        with pq.ParquetFile(path) as file:
            names = file.schema_arrow.names
            if not set(_COLUMNS) <= set(names):
                return []
            columns = [*_COLUMNS, *(["image"] if "image" in names else [])]
            rows = file.read(columns=columns).to_pylist()
    except (OSError, pa.ArrowException) as error:
        message = f"{path.name}: not a readable Parquet file ({error})"
        raise ValueError(message) from error
    rows.sort(key=lambda row: hashlib.sha256(str(row["id"]).encode()).digest())
    by_image = {picture.id: picture for picture in pictures}
    return [
        Answer(
            group=str(row["group"]),
            kind=str(row["kind"]),
            question=str(row["question"]),
            reference=str(row["reference"]),
            answer=str(row["answer"]),
            right=row["correct"] == 1,
            picture=by_image.get(str(row.get("image"))),
        )
        for row in rows[:_MOST]
    ]

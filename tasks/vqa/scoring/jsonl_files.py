"""The two file formats of the scorer: questions with references, and answers, one JSON a line.

References: `question_id`, `question`, `answer`, `answer_type` (OPEN or CLOSED), and where known
`image`, `language` (en or zh; without it, zh where the question holds Chinese characters),
`question_type`, `modality`, `organ`. Answers: `question_id`, and `text` or `response` (as MedITok's
inference writes it). Other fields are passed over.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ....harness.datasets.asked_images import RowDefect, meaning_of, text_of
from ....harness.datasets.jsonl import read_rows
from ....harness.datasets.question import Language, Question
from ....harness.errors import UsageError
from ....harness.files import canonical_json, write_bytes
from ....harness.vocabulary import FACET, MACRO, POOLED
from .asked import Asked

if TYPE_CHECKING:
    from .report import Report

_KINDS: dict[str, Literal["closed", "open"]] = {"OPEN": "open", "CLOSED": "closed"}
_LANGUAGES: dict[str, Language] = {"en": "en", "zh": "zh"}
_CHINESE = re.compile("[\u3400-\u9fff]")
_SHOWN = 5


def read_references(path: Path) -> list[Asked]:
    """Questions with their reference answers.

    Raises:
        UsageError: unreadable, cut off, a line without what it needs, or an id that occurs twice;
            names file and lines.
    """
    found: dict[str, Asked] = {}
    twice: list[str] = []
    for where, row in _objects(path):
        try:
            asked = _asked(row)
        except RowDefect as defect:
            message = f"{where}: {defect}"
            raise UsageError(message) from defect
        if asked.question.id in found:
            twice.append(asked.question.id)
        found[asked.question.id] = asked
    _refuse_repeated(path, twice)
    return list(found.values())


def _asked(row: dict[str, Any]) -> Asked:
    text = text_of(row, "question")
    language: Language = "zh" if _CHINESE.search(text) else "en"
    if row.get("language") is not None:
        language = meaning_of(row, "language", _LANGUAGES)
    question = Question(
        id=text_of(row, "question_id"),
        image_id=_optional(row, "image") or "",
        question=text,
        answer=text_of(row, "answer"),
        kind=meaning_of(row, "answer_type", _KINDS),
        language=language,
        topic=_optional(row, "question_type"),
    )
    modality = _optional(row, "modality") or ""
    if modality in (POOLED, MACRO) or FACET.fullmatch(modality):
        message = f"modality is {modality!r}, the name of another group; call it otherwise"
        raise RowDefect(message)
    return Asked(question, modality, _optional(row, "organ"))


def _optional(row: dict[str, Any], field: str) -> str | None:
    return text_of(row, field) if row.get(field) not in (None, "") else None


def read_answers(path: Path) -> dict[str, str]:
    """Answers by question id; an empty text is an answer, and wrong.

    Raises:
        UsageError: unreadable, cut off, a line without `question_id` or an answer, or a question
            that is answered twice; names file and lines.
    """
    found: dict[str, str] = {}
    twice: list[str] = []
    for where, row in _objects(path):
        if "text" in row and "response" in row:
            message = f"{where}: text and response; which is the answer? Give one of them"
            raise UsageError(message)
        field = "response" if "response" in row else "text"
        text = row.get(field)
        if not isinstance(text, str):
            message = f"{where}: {field} is {text!r}, expected the answer as a text"
            raise UsageError(message)
        try:
            name = text_of(row, "question_id")
        except RowDefect as defect:
            message = f"{where}: {defect}"
            raise UsageError(message) from defect
        if name in found:
            twice.append(name)
        found[name] = text
    _refuse_repeated(path, twice)
    return found


def write_references(path: Path, asked: Sequence[Asked]) -> None:
    """Write questions in the scorer's format, atomically."""
    lines = []
    for each in asked:
        question = each.question
        row = {
            "question_id": question.id,
            "image": question.image_id or None,
            "question": question.question,
            "answer": question.answer,
            "answer_type": question.kind.upper(),
            "language": question.language,
            "question_type": question.topic,
            "modality": each.group or None,
            "organ": each.organ,
        }
        lines.append(canonical_json({k: v for k, v in row.items() if v is not None}) + "\n")
    write_bytes(path, "".join(lines).encode())


def write_verdicts(path: Path, found: Report) -> None:
    """Write a report's verdicts, one question a line, atomically."""
    write_bytes(path, "".join(canonical_json(row) + "\n" for row in found.rows()).encode())


def _objects(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """(file and line, object) of each row.

    Raises:
        UsageError: no rows, or one that is no JSON object.
    """
    number = 0
    for row in read_rows(path):
        number += 1
        where = f"{path}: line {row.number}"
        if row.fields is None:
            message = f"{where}: {row.problem}. Cut off or damaged: write the file again."
            raise UsageError(message)
        yield where, dict(row.fields)
    if not number:
        message = f"{path} is empty: one JSON object a line is expected"
        raise UsageError(message)


def _refuse_repeated(path: Path, names: Sequence[str]) -> None:
    if names:
        more = " …" if len(names) > _SHOWN else ""
        message = (
            f"{path}: {len(names)} question ids occur twice: {', '.join(names[:_SHOWN])}{more}. "
            "Which of the rows counts cannot be known."
        )
        raise UsageError(message)

"""Findings as text for a person, and as files: JSON or CSV of the pairs."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from ..errors import UsageError
from ..files import write_bytes, write_json
from .findings import CONTAMINATING, Findings, Named, Pair, Part, Relation

_RELATIONS: tuple[Relation, ...] = (*CONTAMINATING, "within a split")
_SHOWN = 20
"""Rows of a table that a terminal shows; files hold all."""


def text_report(findings: Findings) -> str:
    """What `data audit` prints."""
    parts = [_table([_part_row(part) for part in findings.parts])]
    counts = findings.counts()
    parts.append(
        _table(
            [
                {
                    "same picture": name,
                    "equal pixels": str(counts.get((name, "exact"), 0)),
                    "near-duplicates": str(counts.get((name, "near"), 0)),
                }
                for name in _RELATIONS
            ]
        )
    )
    ranked = sorted(findings.pairs, key=lambda pair: _RELATIONS.index(pair.relation))
    if ranked:
        parts.append(_table([_pair_row(pair) for pair in ranked[:_SHOWN]]) + _more(len(ranked)))
    parts += _patients(findings)
    parts += _named("Not readable", findings.unreadable)
    parts += _named("Too flat to compare beyond equality", findings.flat)
    parts.append(_verdict(findings))
    return "\n\n".join(parts)


def _table(rows: Sequence[dict[str, str]]) -> str:
    from tabulate import tabulate

    return tabulate(rows, headers="keys", tablefmt="simple", disable_numparse=True)


def _part_row(part: Part) -> dict[str, str]:
    return {
        "data set": part.dataset,
        "split": part.split,
        "images": str(part.images),
        "unreadable": str(part.unreadable),
        "too flat": str(part.flat),
        "patients": "known" if part.patients_known else "unknown",
    }


def _pair_row(pair: Pair) -> dict[str, str]:
    return {
        "first": str(pair.first),
        "second": str(pair.second),
        "relation": pair.relation,
        "correlation": "equal" if pair.correlation is None else f"{pair.correlation:.3f}",
    }


def _more(count: int) -> str:
    return f"\n… and {count - _SHOWN} more (--output FILE has all)" if count > _SHOWN else ""


def _patients(findings: Findings) -> list[str]:
    if findings.patients:
        rows = [
            {
                "patient in several splits": each.patient,
                "data set": each.dataset,
                "images": ", ".join(f"{split} {n}" for split, n in each.images.items()),
            }
            for each in findings.patients[:_SHOWN]
        ]
        return [_table(rows) + _more(len(findings.patients))]
    unknown = sorted({part.dataset for part in findings.parts if not part.patients_known})
    known = sorted({part.dataset for part in findings.parts if part.patients_known})
    texts = []
    if known:
        texts.append(f"No patient lies in two splits of {', '.join(known)}.")
    if unknown:
        texts.append(f"Patients unknown, overlap not checked: {', '.join(unknown)}.")
    return [" ".join(texts)]


def _named(title: str, images: Sequence[Named]) -> list[str]:
    if not images:
        return []
    lines = [f"  {each.dataset} {each.id}: {each.reason}" for each in images[:_SHOWN]]
    return ["\n".join([f"{title}: {len(images)}", *lines]) + _more(len(images))]


def _verdict(findings: Findings) -> str:
    looked = (
        f"{findings.contents} different images, {findings.candidates} candidate pairs, "
        f"{findings.verified} decoded again."
    )
    if findings.contaminated:
        return f"Contaminated: pictures or patients are shared (see above). {looked}"
    return f"Nothing shared between splits, data sets or collections. {looked}"


def write_findings(findings: Findings, path: Path) -> None:
    """Write everything as `.json`, or the pairs as `.csv`.

    Raises:
        UsageError: another suffix, or a place that cannot be written.
    """
    suffix = path.suffix.lower()
    if suffix == ".json":
        write_json(path, findings.as_json())
    elif suffix == ".csv":
        write_bytes(path, _csv(findings.pairs).encode())
    else:
        message = f"--output {path}: the suffix is {suffix!r}; give .json (everything) or .csv"
        raise UsageError(message)


def _csv(pairs: Sequence[Pair]) -> str:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    columns = ("dataset", "split", "id", "width", "height", "sha256")
    sides = [f"{side}_{column}" for side in ("first", "second") for column in columns]
    writer.writerow(["relation", "kind", "correlation", *sides])
    for pair in pairs:
        cells = [
            getattr(picture, column) for picture in (pair.first, pair.second) for column in columns
        ]
        writer.writerow([pair.relation, pair.kind, pair.correlation, *cells])
    return text.getvalue()

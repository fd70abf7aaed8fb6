"""The evidence behind one row: command, commit, definitions, hardware, values, pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from ...harness.record import Metric, Record
from ...harness.tables import ARROWS
from ...harness.vocabulary import MACRO, METRICS, MODALITIES, POOLED
from .answers import Answer
from .badges import escaped
from .cells import number
from .gallery import ERROR_SCALE, Picture
from .names import page_name
from .render import Site
from .sheet import Sheet
from .tasks import task_text


@dataclass(frozen=True, slots=True)
class Shown:
    """What a record has to show besides its values."""

    pictures: Sequence[Picture]
    answers: Sequence[Answer]


@dataclass(frozen=True, slots=True)
class Run:
    """A record as its page needs it."""

    sheet: Sheet
    board: str
    """Name of the page that has it as a row."""


def write_run(site: Site, run: Run, *, raw: str, shown: Shown) -> None:
    """Write the page of one record; `raw` is the path of its stored file in the site."""
    record = run.sheet.record
    site.page(
        f"run/{run.sheet.run}.html",
        "run.html",
        record=record,
        task=task_text(record.task),
        mark=run.sheet.mark,
        board=run.board,
        tokenizer=page_name(record.full_name),
        dataset=page_name(record.dataset.id),
        raw=raw,
        summary=_summary(record, run.sheet.bits_per_pixel),
        environment=_environment(record),
        identity=_identity(record),
        values=value_rows(run),
        pictures=shown.pictures,
        answers=shown.answers,
        error_scale=ERROR_SCALE,
    )


def value_rows(run: Run) -> Markup:
    """All values as table bodies, one per metric and setting, overall groups first.

    Written here rather than in the template: it is most of a large site's work.
    """
    found: dict[tuple[str, str, str], list[Metric]] = {}
    for metric in run.sheet.record.metrics:
        key = (metric.name, metric.setting, metric.definition_hash)
        found.setdefault(key, []).append(metric)
    bodies = [_body(metrics, run) for metrics in found.values()]
    return Markup("".join(bodies))  # noqa: S704 (its parts are escaped below)


def _body(metrics: Sequence[Metric], run: Run) -> str:
    first, count = metrics[0], len(metrics)
    facts, values = METRICS[first.name], run.sheet.values
    title = f"{facts.title}, {first.setting}" if first.setting else facts.title
    head = (
        f'<th scope="rowgroup" rowspan="{count}">{escaped(title)} '
        f'<span class="unit">{facts.unit}</span>{ARROWS[facts.direction]}</th>'
    )
    tail = (
        f'<td rowspan="{count}"><a href="../board/{run.board}.html#definition-'
        f'{first.definition_hash}"><code>{escaped(first.definition)}</code></a></td>'
    )
    lines = []
    for metric in sorted(metrics, key=_place):
        cell = values[metric.name, metric.setting, metric.group]
        # Notes of numbers alone need no escape; flags and reasons are a record's words.
        note = escape(cell.note) if metric.flags or metric.reason else cell.note
        lines.append(
            f"<td>{escaped(_NAMES.get(metric.group, metric.group))}</td>"
            f'<td class="num">{cell.text} <span class="pm">{cell.spread}</span></td>'
            f"<td>{note}</td>"
        )
    lines[0] = f"{head}{lines[0]}{tail}"
    rows = "</tr>\n<tr>".join(lines)
    return f"<tbody>\n<tr>{rows}</tr>\n</tbody>\n"


_NAMES = {MACRO: "mean over modalities", POOLED: "all images"}
_ORDER = {group: place for place, group in enumerate((MACRO, POOLED, *MODALITIES))}


def _place(metric: Metric) -> tuple[int, str]:
    place = _ORDER.get(metric.group)
    return (len(_ORDER), metric.group) if place is None else (place, "")


def _summary(record: Record, bits: float | None) -> list[tuple[str, str]]:
    info = record.info
    tokens = f"{info.codebooks} × {info.positions}" if info.codebooks else "none"
    size = f", {info.codebook_size:,} entries a codebook" if info.codebook_size else ""
    clamped = record.clamped_fraction
    return [
        ("Kind", info.kind),
        ("Bits per pixel", "none" if bits is None else number(bits, 3)),
        ("Tokens", tokens + size),
        ("Parameters", f"{info.parameters:,}" if info.parameters else "none"),
        ("Colour", info.colour),
        ("Training data", record.dataset.disclosure or info.training_data),
        ("Licence of the weights", info.weights_licence),
        ("Licence of the code", info.code_licence),
        ("Source", info.source or "not stated"),
        ("Images", f"{record.dataset.n:,} of split {record.dataset.split}"),
        ("Clamped values", "unknown" if clamped is None else f"{clamped:.2%}"),
    ]


def _environment(record: Record) -> list[tuple[str, str]]:
    found = record.environment
    commit = found.git_commit or "unknown"
    state = {True: " (dirty tree: uncommitted changes)", False: " (clean tree)"}
    timing = record.timing
    pairs = [
        ("Measured", record.created),
        ("medbench", f"{found.medbench} ({found.code_version})"),
        (
            "Commit",
            commit + (state.get(found.git_dirty, "") if found.git_dirty is not None else ""),
        ),
        ("Device", f"{found.device}: {found.device_name or 'unknown'}"),
        ("Machine", found.platform),
        ("Threads", str(found.threads or "unknown")),
        ("Precision", found.precision),
        ("Python", found.python),
        ("Packages", ", ".join(f"{k} {v}" for k, v in found.packages.items()) or "unknown"),
    ]
    if timing is not None:
        batch = timing.batch_size or "unknown"
        speed = timing.images_per_second
        rate = "unknown" if speed is None else f"{number(speed, 1)} images a second"
        pairs.append(
            (
                "Time",
                f"{rate}; encode {number(timing.encode_seconds, 1)} s, decode "
                f"{number(timing.decode_seconds, 1)} s, metrics "
                f"{number(timing.metric_seconds, 1)} s; batch size {batch}",
            )
        )
    return [*pairs, *(("Note", note) for note in found.notes)]


def _identity(record: Record) -> list[tuple[str, str]]:
    identity = record.identity
    pairs = [
        ("Record key", identity.key8),
        ("Weights SHA-256", identity.weights_sha256 or "no weights file"),
        ("Configuration SHA-256", identity.config_sha256 or "the default one"),
        ("Data fingerprint", identity.data_fingerprint),
        ("Definitions SHA-256", identity.definitions_sha256),
        ("Limit per group", str(identity.limit or "none")),
        ("Seed", "draws nothing" if identity.seed is None else str(identity.seed)),
    ]
    pairs += [(f"Option {name}", value) for name, value in identity.options.items()]
    pairs += [(f"Learnt on {name}", value) for name, value in identity.parts.items()]
    if record.per_image is not None:
        pairs.append(("Per-image rows SHA-256", record.per_image_sha256 or "not stored"))
    return pairs

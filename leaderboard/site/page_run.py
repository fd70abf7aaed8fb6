"""The evidence behind one row: command, commit, definitions, hardware, values, pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from ...harness.record import Metric, Record
from ...harness.tables import ARROWS
from ...harness.vocabulary import MACRO, METRICS, MODALITIES, POOLED
from ..trust import Mark
from .answers import Answer
from .cells import number, value_of
from .gallery import ERROR_SCALE, Picture
from .names import page_name, run_name
from .render import Site
from .tasks import task_text
from .views import bits_per_pixel


@dataclass(frozen=True, slots=True)
class Shown:
    """What a record has to show besides its values."""

    pictures: Sequence[Picture]
    answers: Sequence[Answer]


def write_run(
    site: Site,
    record: Record,
    *,
    mark: Mark,
    board: str,
    raw: str,
    shown: Shown,
) -> None:
    """Write the page of one record; `raw` is the path of its stored file in the site."""
    bits = bits_per_pixel(record)
    site.page(
        f"run/{run_name(record)}.html",
        "run.html",
        record=record,
        task=task_text(record.task),
        mark=mark,
        board=board,
        tokenizer=page_name(record.full_name),
        dataset=page_name(record.dataset.id),
        raw=raw,
        summary=_summary(record, bits),
        environment=_environment(record),
        identity=_identity(record),
        values=value_rows(record, board),
        pictures=shown.pictures,
        answers=shown.answers,
        error_scale=ERROR_SCALE,
    )


def value_rows(record: Record, board: str) -> Markup:
    """All values as table bodies, one per metric and setting, overall groups first.

    Written here rather than in the template: it is most of a large site's work.
    """
    found: dict[tuple[str, str, str], list[Metric]] = {}
    for metric in record.metrics:
        key = (metric.name, metric.setting, metric.definition_hash)
        found.setdefault(key, []).append(metric)
    return Markup("").join(_body(metrics, board) for metrics in found.values())


def _body(metrics: Sequence[Metric], board: str) -> Markup:
    first, count = metrics[0], len(metrics)
    facts = METRICS[first.name]
    title = f"{facts.title}, {first.setting}" if first.setting else facts.title
    head = Markup(
        '<th scope="rowgroup" rowspan="{}">{} <span class="unit">{}</span>{}</th>'
    ).format(count, title, facts.unit, ARROWS[facts.direction])
    tail = Markup(
        '<td rowspan="{}"><a href="../board/{}.html#definition-{}"><code>{}</code></a></td>'
    ).format(count, board, first.definition_hash, first.definition)
    lines = []
    for metric in sorted(metrics, key=lambda metric: _place(metric.group)):
        cell = value_of(metric)
        lines.append(
            f"<td>{escape(_group_name(metric.group))}</td>"
            f'<td class="num">{cell.text} <span class="pm">{cell.spread}</span></td>'
            f"<td>{escape(cell.note)}</td>"
        )
    lines[0] = f"{head}{lines[0]}{tail}"
    rows = "".join(f"<tr>{line}</tr>\n" for line in lines)
    return Markup(f"<tbody>\n{rows}</tbody>\n")  # noqa: S704 (its parts are escaped above)


def _place(group: str) -> tuple[int, str]:
    order = (MACRO, POOLED, *MODALITIES)
    return (order.index(group), "") if group in order else (len(order), group)


def _group_name(group: str) -> str:
    return {MACRO: "mean over modalities", POOLED: "all images"}.get(group, group)


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

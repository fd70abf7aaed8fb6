"""Which cell of the baseline belongs to which new one, and whether the two may be compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ...harness.errors import UsageError
from ...harness.record import Environment, Record
from ...harness.record_files import Stored
from .policy import Policy

_MEASURED = ("ok", "suspect", "partial")


@dataclass(frozen=True, slots=True)
class CellPair:
    """A cell measured twice, and the baseline's repeats of it."""

    old: Stored
    new: Stored
    repeats: Sequence[Stored] = ()
    """All measurements of the reference's cell, `old` among them."""

    @property
    def name(self) -> str:
        """Task, dataset and the new tokenizer's name."""
        record = self.new.record
        return f"{record.task}/{record.dataset.id} {record.full_name}"


@dataclass(frozen=True, slots=True)
class Matching:
    """Pairs, and what is left over."""

    pairs: list[CellPair]
    notes: list[str] = field(default_factory=list)


def match_cells(
    old: Sequence[Stored], new: Sequence[Stored], repeats: Sequence[Stored], policy: Policy
) -> Matching:
    """Pair every baseline cell with its new measurement.

    By tokenizer, or where one tokenizer alone was measured on both sides, that one.

    Raises:
        UsageError: cells that must not be compared or are missing, all of them named.
    """
    pairs: list[CellPair] = []
    refused: list[str] = []
    missing: list[str] = []
    notes: list[str] = []
    for place, measured in _places(old).items():
        candidates = _places(new).get(place, {})
        for name, stored in measured.items():
            partner = _partner(name, measured, candidates, policy)
            if partner is None:
                missing.append(f"{place[0]}/{place[1]} {name}")
                continue
            if partner != name:
                notes.append(f"{place[0]}/{place[1]}: {partner} is compared with {name}")
            second = candidates[partner][0]
            again = [s for s in repeats if _same_cell(stored[0].record, s.record)]
            pair = CellPair(_same_seed(stored, second), second, _distinct([*stored, *again]))
            refused += [f"{pair.name}: {reason}" for reason in _refusals(pair)]
            pairs.append(pair)
    if missing and policy.missing == "refuse":
        refused.append(
            f"not measured anew: {', '.join(missing)}. Run them, or set `missing: report` "
            "in the policy (--allow-missing)"
        )
    notes += [f"not measured anew: {cell}" for cell in missing]
    if refused:
        raise UsageError("not comparable:\n" + "\n".join(f"- {reason}" for reason in refused))
    if not pairs:
        message = "nothing to compare: baseline and results share no cell"
        raise UsageError(message)
    return Matching(pairs, notes)


Cells = dict[str, list[Stored]]


def _places(stored: Sequence[Stored]) -> dict[tuple[str, str], Cells]:
    places: dict[tuple[str, str], Cells] = {}
    for each in stored:
        record = each.record
        cells = places.setdefault((record.task, record.dataset.id), {})
        cells.setdefault(record.full_name, []).append(each)
    return places


def _partner(name: str, measured: Cells, candidates: Cells, policy: Policy) -> str | None:
    wanted = policy.pairs.get(name, name)
    if wanted in candidates:
        return wanted
    alone = len(measured) == 1 and len(candidates) == 1 and name not in policy.pairs
    return next(iter(candidates)) if alone else None


def _same_seed(measured: list[Stored], second: Stored) -> Stored:
    """Of several measurements the one with the new one's key facts, so that draws are paired."""
    wanted = second.record.identity
    for each in measured:
        identity = each.record.identity
        if (identity.seed, identity.limit) == (wanted.seed, wanted.limit):
            return each
    return measured[0]


def _same_cell(a: Record, b: Record) -> bool:
    return (a.task, a.dataset.id, a.dataset.fingerprint, a.full_name) == (
        b.task,
        b.dataset.id,
        b.dataset.fingerprint,
        b.full_name,
    )


def _distinct(stored: list[Stored]) -> list[Stored]:
    return list({each.path.resolve(): each for each in stored}.values())


def _refusals(pair: CellPair) -> list[str]:
    """Why two measurements of a cell are not of one protocol on one class of device."""
    old, new = pair.old.record, pair.new.record
    found = [
        f"{what} differ: {before!r} and {after!r}"
        for what, before, after in (
            ("images", old.dataset.fingerprint[:12], new.dataset.fingerprint[:12]),
            ("limits", old.identity.limit, new.identity.limit),
            ("precisions", old.identity.precision, new.identity.precision),
            ("task options", old.identity.options, new.identity.options),
            ("training parts", old.identity.parts, new.identity.parts),
            (
                "device classes",
                device_class(old.environment),
                device_class(new.environment),
            ),
        )
        if before != after
    ]
    for which, record in (("baseline", old), ("new", new)):
        if record.status not in _MEASURED:
            reason = f" ({record.status_reason})" if record.status_reason else ""
            found.append(f"the {which} record is {record.status}{reason}")
    return found


def device_class(environment: Environment) -> str:
    """What may differ in rounding: `cpu`, `mps`, or the GPU's model."""
    kind = environment.device.partition(":")[0]
    return f"{kind} {environment.device_name}" if kind == "cuda" else kind

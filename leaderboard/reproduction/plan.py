"""Which cells a paper's table stands for here, and what each of them lacks on this machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from ...harness.datasets.available import known_cards, presence
from ...harness.datasets.card import Card
from ...harness.errors import UsageError
from ...harness.locate import present
from ...harness.tokenizer_registry import choose_tokenizer
from ...harness.vocabulary import MACRO, POOLED
from ..ledger import LedgerRow, ledger

TABLES = ("reconstruction", "classification", "synthesis", "vqa")
"""The tables that are cells; ablations are trainings, each a line of a configuration."""

_SUITE = "MedITok S7"
_TOKENIZERS = {
    "VQGAN": "vqgan@official",
    "Emu3-VQ": "emu3-vq@official",
    "TokenFlow": "tokenflow@official",
    "UniTok": "unitok@official",
    "PUMIT": "pumit@official",
    "MedVAE": "medvae@official",
    "MedITok": "meditok@official",
}
_NO_TOKENIZER = {
    "MedITok-S1": "weights of stage 1 alone are not published",
    "CLIP ViT-L/14-336 (original LLaVA-Med)": "a vision encoder without codes, not a tokenizer",
}
_MODALITIES = {
    "CT": "ct",
    "Dermoscopy": "dermoscopy",
    "Endoscopy": "endoscopy",
    "Fundus": "fundus",
    "MRI": "mri",
    "Pathology": "pathology",
    "Ultrasound": "ultrasound",
    "X-ray": "xray",
}
_VQA_SETS = {"VQA-RAD": "vqa-rad@test", "SLAKE-val": "slake@val", "SLAKE-test": "slake@test"}
_UNION = "union:"
_SIX_SETS = _UNION + ",".join(
    f"{name}mnist@224" for name in ("blood", "breast", "chest", "derma", "path", "retina")
)
PRESET = "paper"
"""Of the tasks that have presets; records of other ones do not stand beside a paper's values."""
_METRICS = {
    "rFID": "rfid",
    "PSNR": "psnr",
    "SSIM": "ssim",
    "mAP": "map",
    "AUC": "auc",
    "gFID": "gfid",
    "diversity": "diversity",
    "accuracy": "overall",
}
_PERCENT = frozenset({"ssim", "map", "auc", "overall"})
MEAN = "AVG"


@dataclass(frozen=True, slots=True)
class PlannedCell:
    """A printed cell and how it would be measured here.

    Attributes:
        row: of the ledger.
        task: name of the task.
        tokenizer: reference; None where medbench has none.
        datasets: ids; several are averaged by their images. Empty for a mean of other cells.
        metric: id; `setting` says how it is measured.
        group: of images, whose value is the cell's: all of them, or the mean over modalities.
        scale: ours times this is in the paper's unit.
        missing: what keeps it from being run; empty: it can be.
    """

    row: LedgerRow
    task: str
    tokenizer: str | None
    datasets: tuple[str, ...]
    metric: str
    setting: str
    group: str
    scale: float
    missing: tuple[str, ...]

    @property
    def is_mean(self) -> bool:
        """Whether it is the mean of the other cells of its row."""
        return self.row.place == MEAN and self.row.table in ("reconstruction", "classification")


def plan(
    paper: str, *, data_root: Path | None, tables: Sequence[str] = TABLES
) -> list[PlannedCell]:
    """Every cell of the paper's tables, in their order.

    Raises:
        UsageError: unknown paper or table.
    """
    unknown = [table for table in tables if table not in TABLES]
    if unknown:
        message = f"no table {', '.join(unknown)}; those with cells are: {', '.join(TABLES)}"
        raise UsageError(message)
    rows = [row for row in ledger(paper) if row.table in tables]
    return [_planned(row, data_root) for row in rows]


def _planned(row: LedgerRow, data_root: Path | None) -> PlannedCell:
    tokenizer = _TOKENIZERS.get(row.method)
    missing = [_NO_TOKENIZER[row.method]] if tokenizer is None else _weights(tokenizer)
    metric = _METRICS[row.metric]
    how = _HOW[row.table](row)
    mean = row.place == MEAN and row.table in ("reconstruction", "classification")
    missing += [] if mean else [*how.missing, *_absent_sets(how.datasets, data_root)]
    return PlannedCell(
        row=row,
        task=how.task,
        tokenizer=tokenizer,
        datasets=() if mean else how.datasets,
        metric=metric,
        setting=how.setting,
        group=how.group,
        scale=100.0 if metric in _PERCENT else 1.0,
        missing=tuple(missing),
    )


@dataclass(frozen=True, slots=True)
class _How:
    task: str
    datasets: tuple[str, ...]
    setting: str = ""
    group: str = POOLED
    missing: tuple[str, ...] = ()


def _reconstruction(row: LedgerRow) -> _How:
    sets = suite().get(_MODALITIES.get(row.place, ""), ())
    if row.metric == "rFID" and len(sets) > 1:
        # A distance between sets is no mean of those of their parts.
        sets = (_UNION + ",".join(sets),)
    return _How("recon", sets)


def _classification(row: LedgerRow) -> _How:
    return _How("probe", (f"{row.place.lower()}@224",), setting="lp-paper")


def _synthesis(row: LedgerRow) -> _How:
    generator = (
        "a generator trained on its codes of six MedMNIST sets, 200 epochs "
        f"(medbench run --tokenizer {_TOKENIZERS.get(row.method, row.method)} --task synthesis "
        f"--preset {PRESET} --dataset {_SIX_SETS})"
    )
    return _How("synthesis", (_SIX_SETS,), group=MACRO, missing=(generator,))


def _vqa(row: LedgerRow) -> _How:
    model = (
        "a language model fine-tuned on its features (LLaVA-Med v1.5, 7 B, research use): train "
        "one and run with --model, or score answers from elsewhere with --answers"
    )
    return _How("vqa", (_VQA_SETS[row.place],), missing=(model,))


_HOW = {
    "reconstruction": _reconstruction,
    "classification": _classification,
    "synthesis": _synthesis,
    "vqa": _vqa,
}


@cache
def suite() -> Mapping[str, tuple[str, ...]]:
    """The reconstruction suite as the paper lists it: modality -> ids of its sets."""
    found: dict[str, list[str]] = {}
    for card in known_cards().values():
        if any(listed.table == _SUITE for listed in card.listed):
            for modality in card.modalities:
                found.setdefault(modality, []).append(card.id)
    return {modality: tuple(sorted(ids)) for modality, ids in found.items()}


@cache
def _weights_missing(tokenizer: str) -> tuple[str, ...]:
    declared = choose_tokenizer(tokenizer).declared
    if declared is None or declared.weights is None or present(declared.weights):
        return ()
    return (f"weights (medbench weights fetch {tokenizer})",)


def _weights(tokenizer: str) -> list[str]:
    return list(_weights_missing(tokenizer))


def _absent_sets(datasets: Sequence[str], data_root: Path | None) -> list[str]:
    parts = [part for each in datasets for part in each.removeprefix(_UNION).split(",")]
    absent = [each for each in parts if not _here(each, data_root)]
    return [f"data: {', '.join(absent)} (medbench data verify)"] if absent else []


@cache
def _here(dataset: str, data_root: Path | None) -> bool:
    name, _, variant = dataset.partition("@")
    card: Card = known_cards()[name]
    seen = presence(card, data_root)
    if seen.state not in ("found", "embedded"):
        return False
    # A MedMNIST folder says which sizes it holds.
    return not (variant.isdigit() and seen.detail.startswith("sizes")) or variant in seen.detail

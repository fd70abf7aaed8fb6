"""The sanity gate: a tokenizer that does not beat trivial reconstructions is suspect.

Compared are macro PSNR and macro MS-SSIM over the modalities that the tokenizer declares, on
luma where it sees only brightness, with the per-image mean colour and with box-down-by-16.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from ...baselines.bounds import build_down16, build_mean
from ...harness.files import hash_value
from ...harness.locations import cache_root
from ...harness.metrics.ms_ssim import ms_ssim
from ...harness.metrics.psnr import psnr
from ...harness.shards import run_shards
from .measure import luma, reconstruct

if TYPE_CHECKING:
    from ...harness.datasets.store import ImageStore
    from ...harness.shards import Arrays
    from ...harness.task import Cell

_CACHE_VERSION = 1
_BATCH = 16
_BOUNDS = {"mean": build_mean, "down16": build_down16}
_COMPARED = {"psnr": "PSNR", "ms_ssim": "MS-SSIM"}


def bound_scores(store: ImageStore, *, grey: bool) -> Mapping[str, np.ndarray]:
    """Per-image scores of the bounds, `mean/psnr` and so on, float64 (N,) each; computed once."""
    key = hash_value([_CACHE_VERSION, grey, store.fingerprint])
    shards = run_shards(
        cache_root() / "bounds" / key[:32],
        len(store),
        lambda start, stop: _bound_shard(store.read(start, stop), grey),
        label="scores of the bounds",
    )
    parts = list(shards)
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _bound_shard(images: np.ndarray, grey: bool) -> Arrays:
    arrays: Arrays = {}
    for name, build in _BOUNDS.items():
        tokenizer = build(variant="reference", config=None, weights=None, device="cpu")
        back = reconstruct(tokenizer, images, batch=_BATCH, device="cpu").images
        reference, candidate = (luma(images), luma(back)) if grey else (images, back)
        arrays[f"{name}/psnr"] = psnr(reference, candidate)
        arrays[f"{name}/ms_ssim"] = ms_ssim(reference, candidate)
    return arrays


def suspicion(cell: Cell, scores: Mapping[str, np.ndarray]) -> str | None:
    """Why the row is suspect, or None; reference rows are never judged.

    Args:
        cell: the cell that was measured.
        scores: per-image `psnr` and `ms_ssim` of the tokenizer (on luma where it sees luma).
    """
    info = cell.tokenizer.info
    if info.kind in {"bound", "codec"}:
        return None
    groups = np.array([row.group for row in cell.store.rows])
    declared = [g for g in cell.plan.groups if not info.modalities or g in info.modalities]
    if not declared:
        return None
    bounds = bound_scores(cell.store, grey=info.colour == "luma")
    for name, title in _COMPARED.items():
        own = _macro(scores[name], groups, declared)
        for bound in _BOUNDS:
            theirs = _macro(bounds[f"{bound}/{name}"], groups, declared)
            if not own > theirs:
                return (
                    f"macro {title} {own:.4g} does not beat the trivial bound {bound} "
                    f"({theirs:.4g}): check the wrapper and the weights"
                )
    return None


def _macro(values: np.ndarray, groups: np.ndarray, chosen: list[str]) -> float:
    return float(np.mean([values[groups == group].mean() for group in chosen]))

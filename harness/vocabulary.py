"""The closed vocabularies: modalities, groups, statuses and metrics.

Names are the field's own; a record with another name does not load.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, get_args

Modality = Literal[
    "ct",
    "dermoscopy",
    "endoscopy",
    "fundus",
    "mri",
    "pathology",
    "ultrasound",
    "xray",
    "microscopy",
]
MODALITIES: tuple[str, ...] = get_args(Modality)

POOLED = "all"
"""Group of all images together."""
MACRO = "macro"
"""Group of the unweighted mean over the modalities."""

FACET = re.compile(r"(language|topic|organ|label|level|set):[^\x00-\x1f]{1,80}")
"""A group that is not a modality: the questions of one language, the images of one label or of one
set of a union."""
SETTING = re.compile(r"[A-Za-z0-9 ._:@%+=/-]{0,60}")
"""Form of `Metric.setting`: `mean lp-val`, `5% of labels`."""

BLIND, SHUFFLED, MAJORITY = "blind", "shuffled", "majority"
REAL, FLOOR, ORIGINALS = "real", "floor", "originals"
CONTROLS = frozenset({BLIND, SHUFFLED, MAJORITY, REAL, FLOOR, ORIGINALS})
"""Settings that a value is read against: no tokenizer is better for a higher or a lower one.

A model without images, one with other images, the commonest answer; real images in the place of
samples, reconstructions in their place; originals in the place of reconstructions.
"""

Status = Literal["ok", "partial", "suspect", "not-applicable", "failed", "stale", "withdrawn"]
STATUSES: tuple[str, ...] = get_args(Status)

Direction = Literal["higher", "lower", "none"]


@dataclass(frozen=True, slots=True)
class MetricFacts:
    """What a table needs to know of a metric, whatever the task."""

    title: str
    unit: str
    direction: Direction
    low: float
    """Smallest legal value."""
    high: float
    """Largest legal value."""
    ranked: bool
    digits: int
    """Decimals shown in tables."""


_INF = float("inf")

METRICS: dict[str, MetricFacts] = {
    "psnr": MetricFacts("PSNR", "dB", "higher", 0.0, 100.0, True, 2),
    "ssim": MetricFacts("SSIM", "", "higher", -1.0, 1.0, True, 4),
    "ssim_u7": MetricFacts("SSIM (uniform 7×7)", "", "higher", -1.0, 1.0, False, 4),
    "ms_ssim": MetricFacts("MS-SSIM", "", "higher", 0.0, 1.0, True, 4),
    "lpips": MetricFacts("LPIPS", "", "lower", 0.0, _INF, True, 4),
    "lpips_vgg": MetricFacts("LPIPS (VGG)", "", "lower", 0.0, _INF, False, 4),
    "rfid": MetricFacts("rFID", "", "lower", 0.0, _INF, True, 2),
    "kid": MetricFacts("KID", "", "lower", -_INF, _INF, True, 5),
    "rfd_random": MetricFacts("rFD (random net)", "", "lower", 0.0, _INF, False, 3),
    "kid_random": MetricFacts("KID (random net)", "", "lower", -_INF, _INF, False, 5),
    "rfd": MetricFacts("rFD (other features)", "", "lower", 0.0, _INF, False, 3),
    "kd": MetricFacts("Kernel distance (other features)", "", "lower", -_INF, _INF, False, 5),
    "usage": MetricFacts("Codebook usage", "", "none", 0.0, 1.0, False, 3),
    "entropy": MetricFacts("Index entropy", "bits", "none", 0.0, _INF, False, 2),
    "bits_per_image": MetricFacts("Bits per image", "bits", "none", 0.0, _INF, False, 0),
    "bits_per_pixel": MetricFacts("Bits per pixel", "bits", "none", 0.0, _INF, False, 3),
    "effective_bits_per_pixel": MetricFacts(
        "Effective bits per pixel", "bits", "none", 0.0, _INF, False, 3
    ),
    "perplexity": MetricFacts("Codebook perplexity", "", "none", 1.0, _INF, False, 1),
    "psnr_lesion": MetricFacts("PSNR in masks", "dB", "higher", 0.0, 100.0, False, 2),
    "ssim_lesion": MetricFacts("SSIM in masks", "", "higher", -1.0, 1.0, False, 4),
    "psnr_border": MetricFacts("PSNR at mask borders", "dB", "higher", 0.0, 100.0, False, 2),
    "ssim_border": MetricFacts("SSIM at mask borders", "", "higher", -1.0, 1.0, False, 4),
    "channel_disagreement": MetricFacts("Channel disagreement", "", "lower", 0.0, 1.0, False, 5),
    "label_flip_rate": MetricFacts("Label flips", "", "lower", 0.0, 1.0, False, 4),
    "auc_drop": MetricFacts("AUC drop", "", "lower", -1.0, 1.0, False, 4),
    "map": MetricFacts("mAP", "", "higher", 0.0, 1.0, True, 4),
    "auc": MetricFacts("AUC", "", "higher", 0.0, 1.0, True, 4),
    "acc": MetricFacts("Accuracy", "", "higher", 0.0, 1.0, False, 4),
    "bacc": MetricFacts("Balanced accuracy", "", "higher", 0.0, 1.0, True, 4),
    "worst_recall": MetricFacts("Worst-class recall", "", "higher", 0.0, 1.0, False, 4),
    "gfid": MetricFacts("gFID", "", "lower", 0.0, _INF, True, 2),
    "gfd_random": MetricFacts("gFD (random net)", "", "lower", 0.0, _INF, False, 3),
    "precision": MetricFacts("Precision", "", "higher", 0.0, 1.0, False, 4),
    "recall": MetricFacts("Recall", "", "higher", 0.0, 1.0, False, 4),
    "density": MetricFacts("Density", "", "higher", 0.0, _INF, False, 4),
    "coverage": MetricFacts("Coverage", "", "higher", 0.0, 1.0, False, 4),
    "class_accuracy": MetricFacts("Samples named right", "", "higher", 0.0, 1.0, False, 4),
    "nearest_training": MetricFacts("Nearest training image", "", "none", 0.0, _INF, False, 4),
    "diversity": MetricFacts("MS-SSIM diversity", "", "none", 0.0, 1.0, False, 4),
    "closed_accuracy": MetricFacts("Closed accuracy", "", "higher", 0.0, 1.0, True, 4),
    "open_exact": MetricFacts("Open exact match", "", "higher", 0.0, 1.0, True, 4),
    "open_recall": MetricFacts("Open token recall", "", "higher", 0.0, 1.0, True, 4),
    "open_f1": MetricFacts("Open token F1", "", "higher", 0.0, 1.0, True, 4),
    "overall": MetricFacts("Overall accuracy", "", "higher", 0.0, 1.0, True, 4),
}

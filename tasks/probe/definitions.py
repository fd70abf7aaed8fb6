"""Definitions of the probes' metrics: all that changes a number, named and hashed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...harness.record import Definition
from ...harness.statistics import bootstrap, proportions
from ...harness.task import Plan
from .pool import pool_of

MAIN = ""
"""Setting of the tables: the quantised grid under `lp-val`."""
KNN = "k-NN"
PAPER = "lp-paper"
FRACTIONS = {"1% of labels": 0.01, "5% of labels": 0.05, "10% of labels": 0.1}
"""Of the label-efficiency curve, whose last point, all labels, is the main setting."""
LABEL_DRAWS = 5
LARGE = 1000
"""Training images above which one draw of them, and one seed, is enough."""

TRAIN_LIMITS = {"medsynth": 300}
"""Training images per group of sets that could give any number, by the id of the card."""
TRAIN_PER_TEST, VAL_PER_TEST = 4, 2
"""With a limit, how many times as many images are learnt on and chosen on."""

PAPER_SEEDS = 3
"""Of the paper's protocol on small sets, whose values differ from run to run."""

METRICS = ("map", "auc", "acc", "bacc", "worst_recall")
MINIMA = ("worst_recall",)
"""Lowest values over classes, which get no interval: resamples of a minimum lie below it, and
their central 95 % held the truth in 11 % of simulated sets (nine equally good classes)."""
CURVE_METRICS = ("map", "auc")
PAPER_METRICS: tuple[str, ...] = ("map", "auc", "acc")

_FORMULAS = {
    "map": "average precision without interpolation, mean over classes, both of a binary set",
    "auc": "MedMNIST: last column of a binary set, else mean of one-vs-rest over classes or labels",
    "acc": "highest score; multi-label: each label at probability 1/2",
    "bacc": "mean of recalls over classes",
    "worst_recall": "lowest recall of a class",
}

_VAL = {
    "classifier": "multinomial logistic regression, L2; multi-label: independent binary problems",
    "features": "standardised by training images",
    "penalty": "of 1e-8 ... 1e-1 the one with the highest AUC on validation images",
    "fitted_on": "train only",
    "scored": "once",
}
_SUBSETS = {
    "subsets": "label-subset-1: nested, by class, at least one image of each",
    "draws": f"{LABEL_DRAWS}; of subsets above {LARGE} images 1",
    "validation": "all images",
}
_PAPER = {
    "classifier": "linear layer, features as they are",
    "optimiser": "Adam, learning rate 1e-3, batch 128",
    "stop": "200 epochs, or 10 in a row without 0.1 % improvement of the training loss",
    "epoch": "the best one for each metric on the images that it is scored on: optimistic",
    "runs": "mean of 3 seeds; of several groups, or above 1000 training images, 1 seed",
}
_KNN = {"classifier": "20 nearest training images by cosine, votes exp(similarity / 0.07)"}


@dataclass(frozen=True, slots=True)
class Setting:
    """One way to probe, as records name it.

    Attributes:
        name: of the metrics' settings.
        features: a kind, or `grid` for `flat` or, where that is too long, `flat-p`.
        facts: of the protocol.
        metrics: that it gives.
        interval: whether the images are resampled.
        version: of the protocol, the last part of its definitions' ids.
    """

    name: str
    features: str
    facts: Mapping[str, Any]
    metrics: tuple[str, ...] = METRICS
    interval: bool = True
    version: int = 1


def settings() -> dict[str, Setting]:
    """All ways to probe, by name."""
    curve = [
        Setting(
            name,
            "grid",
            _VAL
            | {
                "labels": fraction,
                "subsets": "label-subset-1",
                "draws": LABEL_DRAWS,
                "draws_above_1000_images": 1,
            },
            CURVE_METRICS,
        )
        for name, fraction in FRACTIONS.items()
    ]
    made = [
        Setting(MAIN, "grid", _VAL),
        Setting("mean lp-val", "mean", _VAL),
        Setting("cont-mean lp-val", "cont-mean", _VAL),
        Setting(KNN, "grid", _KNN, METRICS),
        Setting(PAPER, "grid", _PAPER, PAPER_METRICS, interval=False, version=2),
        *curve,
    ]
    return {each.name: each for each in made}


def key(metric: str, setting: str) -> str:
    """Name of a definition in the task's table."""
    return f"{metric}[{setting}]" if setting else metric


def part_limits(card_id: str, limit: int | None) -> dict[str, int | None]:
    """Images per group of `train` and `val`, with a limit on the scored part or without."""
    most = TRAIN_LIMITS.get(card_id)
    if limit is None:
        return {"train": most, "val": None}
    train = TRAIN_PER_TEST * limit
    return {"train": train if most is None else min(most, train), "val": VAL_PER_TEST * limit}


def definitions(plan: Plan) -> Mapping[str, Definition]:
    """Definitions by `key`."""
    images = {
        "resolution": plan.resolution,
        "ingest": plan.ingest_rule,
        "split": plan.split,
        "limit": plan.limit,
        "parts": _parts(plan),
    }
    resampled = {
        "rule": bootstrap.RULE,
        "replicates": bootstrap.REPLICATES,
        "strata": "group and class",
    }
    found = {}
    for setting in settings().values():
        facts = images | {"kind": setting.features, "protocol": dict(setting.facts)}
        if setting.features == "grid":
            facts["kind"] = "flat: latent grid, flattened; above 32768 numbers flat-p-1 to 16384"
        if setting.name == PAPER:
            facts["scored"] = pool_of(plan.dataset_id).facts()
        for metric in setting.metrics:
            own = facts | {"formula": _FORMULAS[metric]}
            if setting.interval and metric not in MINIMA:
                own["bootstrap"] = resampled
            slug = (setting.name or "lp-val").lower().replace("%", "pc").replace(" ", "-")
            share = metric == "acc" and setting.interval
            if share:
                own["interval"] = proportions.RULE
            id_ = f"{metric}-{slug}-{max(setting.version, 2 if share else 1)}"
            found[key(metric, setting.name)] = Definition(id=id_, facts=own)
    return found


def _parts(plan: Plan) -> dict[str, Any]:
    """What is learnt on, or how the images are cut."""
    if not plan.parts:
        return {"cut": "60/20/20 by patient within classes", "rule": "split-by-unit-1"}
    limits = part_limits(plan.dataset_id.partition("@")[0], plan.limit)
    named = {name: {"id": id_, "per_group": limits[name]} for name, id_ in plan.parts.items()}
    if "val" not in named:
        named["val"] = {"cut": "25 % of train by patient within classes", "rule": "split-by-unit-1"}
    return named

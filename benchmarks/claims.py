"""The paper's claims in miniature: arms of equal steps and data, three seeds, one table.

    python benchmarks/claims.py train --seed 0      (each seed: resumable, about an hour of CPU)
    python benchmarks/claims.py measure             (writes docs/claims.md and docs/claims.json)

Fixed before any of these runs: the configuration `claims`, seeds 0 to 2, the final checkpoint, and
the probe: `fast_probe`, ridge regression whose penalty leave-one-out chooses among eight, on the
quantised latents (`flat`: every position; `mean`: their mean). No tokenizer sees a test image, and
none is trained on the real sets.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from claims_images import (
    TEST_PER_MODALITY,
    TRAIN_PER_MODALITY,
    Images,
    Pair,
    medsynth_images,
    real_sets,
    with_unnamed,
)
from claims_page import ARMS, SEEDS, page
from numpy.typing import NDArray

from medbench import load_tokenizer
from medbench.harness.files import write_bytes, write_json
from medbench.harness.metrics.classification import RankedScores, class_numbers, one_hot
from medbench.harness.metrics.psnr import psnr
from medbench.harness.probing.ridge import ProbeSet, fast_probe, fit_ridge
from medbench.harness.probing.standardise import fit_standardisation
from medbench.harness.statistics.bootstrap import Sample, bootstrap_statistic
from medbench.harness.training.presets import find_preset
from medbench.harness.training.run import train as train_stages
from medbench.harness.training.run_plan import Stage
from medbench.harness.training.teachers.clip_teacher import ClipTeacher
from medbench.harness.training.teachers.miniature import load_miniature

REPLICATES = 1000


TEACHER = "teacher"
"""Stage and folder of the teacher that all arms of all seeds share, as published teachers are."""


def train_arms(seed: int, folder: Path) -> None:
    """Train the teacher and every arm of a seed, or go on where an earlier call was stopped."""
    stages = {each.name: each for each in find_preset("claims").stages()}
    train_stages([stages.pop(TEACHER)], folder / TEACHER, resume=True)
    train_stages(
        [_arm(stage, seed, folder / TEACHER) for stage in stages.values()],
        folder / f"seed-{seed}",
        resume=True,
    )


def _arm(stage: Stage, seed: int, teacher: Path) -> Stage:
    """The stage with another seed, which learns from the teacher in a folder."""
    config = {**stage.config, "settings": {**stage.config["settings"], "seed": seed}}
    if config.get("alignment") is not None:
        trained = {**config["alignment"]["teacher"], "stage": None, "weights": str(teacher)}
        config["alignment"] = {**config["alignment"], "teacher": trained}
    return Stage(stage.name, config)


Features = Callable[[NDArray[np.uint8]], dict[str, NDArray[np.float32]]]
"""Images -> features by kind."""


def raw_pixels(pixels: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
    """What a tokenizer must beat."""
    return {"flat": pixels.reshape(len(pixels), -1).astype(np.float32) / 255}


@torch.no_grad()
def latents(tokenizer: Any, pixels: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
    """Quantised latents, all positions and their mean, and the reconstruction."""
    flat, mean, made = [], [], []
    for start in range(0, len(pixels), 128):
        images = torch.from_numpy(pixels[start : start + 128]).permute(0, 3, 1, 2).float() / 255
        encoding = tokenizer.encode(images)
        flat.append(encoding.latents.flatten(1).numpy())
        mean.append(encoding.latents.mean(dim=(2, 3)).numpy())
        rec = (tokenizer.decode(encoding) * 255).round().clamp(0, 255).byte()
        made.append(rec.permute(0, 2, 3, 1).numpy())
    return {"flat": np.concatenate(flat), "mean": np.concatenate(mean), "rec": np.concatenate(made)}


@torch.no_grad()
def teacher_embeddings(
    teacher: ClipTeacher, pixels: NDArray[np.uint8]
) -> dict[str, NDArray[np.float32]]:
    """What the arms' teacher says of each image: the most that alignment can hand on."""
    found = []
    for start in range(0, len(pixels), 128):
        images = (
            torch.from_numpy(pixels[start : start + 128]).permute(0, 3, 1, 2).float() / 127.5 - 1
        )
        found.append(teacher.embed_images(images).numpy())
    return {"flat": np.concatenate(found)}


def probe(features: Features, pair: Pair, kinds: tuple[str, ...]) -> dict[str, float]:
    """Macro mAP by kind of features."""
    on_train, on_test = features(pair.train.pixels), features(pair.test.pixels)
    found = {}
    for kind in kinds:
        train = ProbeSet(on_train[kind], pair.train.labels, pair.train.groups)
        test = ProbeSet(on_test[kind], pair.test.labels, pair.test.groups)
        found[kind] = fast_probe(train, test)["macro"].mean_average_precision
    return found


class RankedProbe:
    """The probe of one arm, scored on any rows of the test set."""

    def __init__(self, features: Features, pair: Pair, kind: str) -> None:
        on_train, on_test = features(pair.train.pixels)[kind], features(pair.test.pixels)[kind]
        train_groups, test_groups = np.array(pair.train.groups), np.array(pair.test.groups)
        self._parts = []
        for group in np.unique(test_groups):
            fitted, tested = train_groups == group, np.flatnonzero(test_groups == group)
            labels = [label for label, use in zip(pair.train.labels, fitted, strict=True) if use]
            classes = sorted(set(labels))
            standard = fit_standardisation(on_train[fitted])
            targets = one_hot(class_numbers(labels, classes), len(classes)).astype(np.float64)
            found = fit_ridge(standard.apply(on_train[fitted]), targets)
            scores = standard.apply(on_test[tested]) @ found.coefficients + found.intercept
            truth = class_numbers([pair.test.labels[row] for row in tested], classes)
            place = np.full(len(test_groups), -1)
            place[tested] = np.arange(len(tested))
            self._parts.append((RankedScores(truth, scores), place))

    def __call__(self, rows: NDArray[np.int64]) -> float:
        """Macro mAP over the groups, of test rows that may repeat."""
        values = []
        for ranked, place in self._parts:
            own = place[rows]
            values.append(ranked.mean_average_precision(own[own >= 0]))
        return float(np.mean(values))


def gain(second: RankedProbe, first: RankedProbe, test: Images) -> dict[str, float]:
    """Paired difference of macro mAP, with its bootstrap interval over patients."""
    sample = Sample("claims", test.groups, test.patients)
    found = bootstrap_statistic(
        lambda rows: second(rows) - first(rows), sample, replicates=REPLICATES
    )
    return {"value": found.value, "low": found.low or np.nan, "high": found.high or np.nan}


def measure_seed(folder: Path, medical: Pair, real: dict[str, Pair]) -> dict[str, Any]:
    """All numbers of one seed."""
    arms: dict[str, Any] = {}
    probes = {}
    for arm, (stage, _) in ARMS.items():
        config = json.loads((folder / stage / "config.json").read_text(encoding="utf-8"))
        weights = folder / stage / "weights.safetensors"
        tokenizer = load_tokenizer("meditok", config=config["model"], weights=weights)
        features = Kept(partial(latents, tokenizer))
        made = features(medical.test.pixels)["rec"].astype(np.uint8)
        decibels = psnr(medical.test.pixels, made)
        groups = np.array(medical.test.groups)
        arms[arm] = {
            "psnr": float(np.mean([decibels[groups == g].mean() for g in np.unique(groups)])),
            "label": probe(features, medical, ("flat", "mean")),
            "unnamed": probe(features, with_unnamed(medical), ("flat", "mean")),
            "real": {name: probe(features, pair, ("flat", "mean")) for name, pair in real.items()},
        }
        probes[arm] = {kind: RankedProbe(features, medical, kind) for kind in ("flat", "mean")}
    gains = {
        f"{second} - {first}": {
            kind: gain(probes[second][kind], probes[first][kind], medical.test)
            for kind in ("flat", "mean")
        }
        for second, first in (("B", "A"), ("C", "B"))
    }
    teacher = Kept(partial(teacher_embeddings, load_miniature(folder.parent / TEACHER)))
    ceiling = {
        "label": probe(teacher, medical, ("flat",)),
        "unnamed": probe(teacher, with_unnamed(medical), ("flat",)),
        "real": {name: probe(teacher, pair, ("flat",)) for name, pair in real.items()},
    }
    return {"arms": arms, "teacher": ceiling, **gains}


class Kept:
    """Features that are computed once for every set of images."""

    def __init__(self, features: Features) -> None:
        self._features = features
        self._found: dict[int, dict[str, NDArray[np.float32]]] = {}

    def __call__(self, pixels: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        """The features of `pixels`."""
        if id(pixels) not in self._found:
            self._found[id(pixels)] = self._features(pixels)
        return self._found[id(pixels)]


def measure(folder: Path, output: Path) -> None:
    """Measure every finished seed of the folder; others stay in the table as they are."""
    medical = Pair(
        medsynth_images("train", TRAIN_PER_MODALITY), medsynth_images("test", TEST_PER_MODALITY)
    )
    real = real_sets()
    scores = fast_probe_chance(medical)
    raw = {
        "label": probe(raw_pixels, medical, ("flat",)),
        "unnamed": probe(raw_pixels, with_unnamed(medical), ("flat",)),
        "real": {name: probe(raw_pixels, pair, ("flat",)) for name, pair in real.items()},
    }
    seeds = {}
    if (kept := output.with_suffix(".json")).exists():
        seeds = json.loads(kept.read_text(encoding="utf-8"))["seeds"]
    for seed in SEEDS:
        place = folder / f"seed-{seed}"
        missing = [
            stage
            for stage, _ in ARMS.values()
            if not (place / stage / "weights.safetensors").exists()
        ]
        if missing:
            logging.warning("seed %d lacks %s: left out", seed, ", ".join(missing))
            continue
        seeds[str(seed)] = measure_seed(place, medical, real)
    found = {"chance": scores, "raw pixels": raw, "seeds": dict(sorted(seeds.items()))}
    write_json(output.with_suffix(".json"), found)
    write_bytes(output, page(found).encode())


def fast_probe_chance(pair: Pair) -> float:
    """Macro mAP of scores that say nothing."""
    groups, labels = np.array(pair.test.groups), np.array(pair.test.labels)
    return float(np.mean([1 / len(np.unique(labels[groups == g])) for g in np.unique(groups)]))


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    verbs = parser.add_subparsers(dest="verb", required=True)
    for name in ("train", "measure"):
        verb = verbs.add_parser(name)
        verb.add_argument("--folder", type=Path, default=Path("runs/claims"))
    verbs.choices["train"].add_argument("--seed", type=int, required=True)
    verbs.choices["measure"].add_argument("--output", type=Path, default=Path("docs/claims.md"))
    asked = parser.parse_args()
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(message)s")
    if asked.verb == "train":
        train_arms(asked.seed, asked.folder)
    else:
        measure(asked.folder, asked.output)


if __name__ == "__main__":
    main()

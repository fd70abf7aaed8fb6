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
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from tabulate import tabulate

from medbench import load_tokenizer
from medbench.harness.datasets import medsynth
from medbench.harness.files import write_bytes, write_json
from medbench.harness.locations import cache_root, data_root
from medbench.harness.metrics.classification import RankedScores, class_numbers, one_hot
from medbench.harness.metrics.psnr import psnr
from medbench.harness.probing.ridge import ProbeSet, fast_probe, fit_ridge
from medbench.harness.probing.standardise import fit_standardisation
from medbench.harness.statistics.bootstrap import Sample, bootstrap_statistic
from medbench.harness.training.presets import find_preset
from medbench.harness.training.run import train as train_stages
from medbench.harness.training.run_plan import Stage

SEEDS = (0, 1, 2)
SIDE = 64
TRAIN_PER_MODALITY, TEST_PER_MODALITY = 400, 300
REPLICATES = 1000
ARMS = {
    "A": ("recon", "reconstruction only"),
    "B": ("stage1-on", "stage 1"),
    "C": ("stage2", "stage 1, then stage 2"),
    "D": ("text-only", "text only"),
    "S": ("shuffled", "stage 1, teacher pairs shuffled"),
    "W": ("weight-1", "stage 1 with weight 1"),
    "O": ("cosine", "stage 1 with cosine instead of contrast"),
    "T": ("text-trained", "stage 1, then stage 2 with a trained text tower"),
}
UNNAMED = {
    "ct": "lung_b",
    "dermoscopy": "vignette",
    "endoscopy": "fold_frequency",
    "fundus": "pigment",
    "microscopy": "red_radius",
    "mri": "gain",
    "pathology": "density",
    "ultrasound": "gland_depth",
    "xray": "heart",
}
"""A part of each image's state that no caption names: is it in the upper or the lower half?"""


@dataclass(frozen=True)
class Images:
    """Images uint8 (N, SIDE, SIDE, 3) and what is known of each."""

    pixels: NDArray[np.uint8]
    labels: list[str]
    groups: list[str]
    patients: list[str]
    values: NDArray[np.float64]
    """Of the unnamed part of the state; NaN where there is none."""


@dataclass(frozen=True)
class Pair:
    """Images to fit a probe on, and other images to score it on."""

    train: Images
    test: Images


def train_arms(seed: int, folder: Path) -> None:
    """Train every arm of a seed, or go on where an earlier call was stopped."""
    stages = [
        Stage(each.name, {**each.config, "settings": {**each.config["settings"], "seed": seed}})
        for each in find_preset("claims").stages()
    ]
    train_stages(stages, folder / f"seed-{seed}", resume=True)


def medsynth_images(split: str, per_modality: int) -> Images:
    """Images of medsynth at SIDE, painted once."""
    path = cache_root() / "claims" / f"{split}-{per_modality}-{medsynth.GENERATOR_VERSION}.npz"
    if not path.exists():
        samples = [
            medsynth.generate(modality, index, seed=0, split=split, size=SIDE)
            for modality in medsynth.MODALITIES
            for index in range(per_modality)
        ]
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(
            path,
            pixels=np.stack([s.image for s in samples]),
            labels=[s.label for s in samples],
            groups=[s.modality for s in samples],
            patients=[s.patient for s in samples],
            values=[float(s.state[UNNAMED[s.modality]]) for s in samples],
        )
    kept = np.load(path)
    texts = {name: kept[name].tolist() for name in ("labels", "groups", "patients")}
    return Images(kept["pixels"], **texts, values=kept["values"])


def with_unnamed(pair: Pair) -> Pair:
    """The same images, labelled by the half (of the training set) in which the value lies."""

    def halved(images: Images, middles: dict[str, float]) -> Images:
        rows = zip(images.values, images.groups, strict=True)
        labels = ["upper" if value > middles[group] else "lower" for value, group in rows]
        return Images(images.pixels, labels, images.groups, images.patients, images.values)

    groups = np.array(pair.train.groups)
    middles = {g: float(np.median(pair.train.values[groups == g])) for g in np.unique(groups)}
    return Pair(halved(pair.train, middles), halved(pair.test, middles))


def real_sets() -> dict[str, Pair]:
    """The labelled sets of the data root, each as one group."""
    root = data_root()
    if root is None:
        return {}
    files = [
        *sorted(root.glob("medmnist/*.npz")),
        *sorted(root.glob("derived_classification/*.npz")),
    ]
    return {path.stem: Pair(_read(path, "train"), _read(path, "test")) for path in files}


def _read(path: Path, split: str) -> Images:
    kept = np.load(path, allow_pickle=False)
    small, labels = kept[f"{split}_images"], kept[f"{split}_labels"].reshape(-1)
    resized = [
        np.asarray(
            Image.fromarray(each).convert("RGB").resize((SIDE, SIDE), Image.Resampling.BILINEAR)
        )
        for each in small
    ]
    count = len(small)
    return Images(
        np.stack(resized),
        [str(label) for label in labels],
        [path.stem] * count,
        [""] * count,
        np.full(count, np.nan),
    )


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
        kind: gain(probes["C"][kind], probes["B"][kind], medical.test) for kind in ("flat", "mean")
    }
    return {"arms": arms, "C - B": gains}


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
    """Measure every finished seed and write the table."""
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
        seeds[seed] = measure_seed(place, medical, real)
    found = {"chance": scores, "raw pixels": raw, "seeds": seeds}
    write_json(output.with_suffix(".json"), found)
    write_bytes(output, page(found).encode())


def fast_probe_chance(pair: Pair) -> float:
    """Macro mAP of scores that say nothing."""
    groups, labels = np.array(pair.test.groups), np.array(pair.test.labels)
    return float(np.mean([1 / len(np.unique(labels[groups == g])) for g in np.unique(groups)]))


def page(found: dict[str, Any]) -> str:
    """The table, and what holds."""
    rows = []
    for arm, (_, words) in ARMS.items():
        each = [seed["arms"][arm] for seed in found["seeds"].values()]
        rows.append(
            {
                "arm": f"{arm}: {words}",
                "PSNR, dB": _all([one["psnr"] for one in each], 1),
                "mAP flat": _all([one["label"]["flat"] for one in each], 3),
                "mAP mean": _all([one["label"]["mean"] for one in each], 3),
                "unnamed, flat": _all([one["unnamed"]["flat"] for one in each], 3),
                **{
                    f"{name}, flat": _all([one["real"][name]["flat"] for one in each], 3)
                    for name in each[0]["real"]
                },
            }
        )
    raw = found["raw pixels"]
    rows.append(
        {
            "arm": "raw pixels",
            "mAP flat": f"{raw['label']['flat']:.3f}",
            "unnamed, flat": f"{raw['unnamed']['flat']:.3f}",
            **{f"{name}, flat": f"{one['flat']:.3f}" for name, one in raw["real"].items()},
        }
    )
    return TEXT.format(
        table=tabulate(rows, headers="keys", tablefmt="github", stralign="left"),
        verdicts="\n".join(f"- {line}" for line in verdicts(found)),
        chance=found["chance"],
        seeds=", ".join(map(str, found["seeds"])),
    )


TEXT = """# The paper's claims in miniature

`python benchmarks/claims.py train --seed N` for every seed, then `python benchmarks/claims.py
measure`. All arms have equal steps and data; the values of seeds {seeds} stand beside each other.
mAP is macro over the nine modalities of medsynth's test split; chance is {chance:.3f}. *Unnamed* is
a part of each image's state that no caption names (chance 0.5). The sets after it are real or
derived from real images; no tokenizer was trained on them.

{table}

{verdicts}
"""


def _all(values: list[float], digits: int) -> str:
    return " / ".join(f"{value:.{digits}f}" for value in values)


def verdicts(found: dict[str, Any]) -> list[str]:
    """The claims, one by one: held in every seed, or not reproduced."""
    seeds = list(found["seeds"].values())

    def of(arm: str, kind: str) -> NDArray[np.float64]:
        return np.array([seed["arms"][arm]["label"][kind] for seed in seeds])

    def decibels(arm: str) -> NDArray[np.float64]:
        return np.array([seed["arms"][arm]["psnr"] for seed in seeds])

    claims = []
    for kind in ("flat", "mean"):
        rise = of("B", kind) - of("A", kind)
        claims.append((f"stage 1 gains at least 0.15 mAP ({kind})", rise, rise >= 0.15))
    cost = decibels("A") - decibels("B")
    claims.append(("stage 1 costs at most 0.5 dB", cost, cost <= 0.5))
    for kind in ("flat", "mean"):
        gains = [seed["C - B"][kind] for seed in seeds]
        low = np.array([each["low"] for each in gains])
        claims.append((f"stage 2 gains over stage 1 ({kind}); lower bounds", low, low > 0))
        gap = np.abs(of("S", kind) - of("A", kind))
        claims.append((f"shuffled pairs are within 0.03 of none ({kind})", gap, gap <= 0.03))
    beyond = np.array([found["raw pixels"]["label"]["flat"] - found["chance"]])
    claims.append(("raw pixels are within 0.05 of chance", beyond, np.abs(beyond) <= 0.05))
    return [
        f"{claim}: {_all(values.tolist(), 3)}: {'holds' if held.all() else '*not reproduced*'}"
        for claim, values, held in claims
    ]


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

"""The stages of one cell, in order; each one is kept on its own."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ...harness.errors import UsageError
from ...harness.files import hash_value
from ...harness.precision import cache_facts
from ...harness.shards import run_shards
from ...harness.task import Cell, Outcome
from ...harness.vocabulary import FLOOR, REAL
from ..classifier import trained_classifier
from ..recon.features import Space, build_extractor, extract, original_features
from . import gallery, measure
from .classes import check_enough, class_of_rows, find_classes
from .diversity import add_diversity
from .presets import Preset
from .reference import RealImage, ReferenceClass, choose_reference, read_images, stores_of
from .sample import Order, SampleSet, Tools, sample_set
from .scores import Scores
from .tokenizer_key import TokenizerKey, tokenizer_key
from .tokens import Tokens, decode_codes, encode_images, tokens_of
from .trained import TrainingData, check_tokenizer, load_kept, read_facts, trained_generator

if TYPE_CHECKING:
    from ...harness.metrics.extractors.protocol import Extractor
    from ..classifier import Classifier

_UNRANKED = "preset for trying out only: never ranked"


@dataclass(frozen=True, slots=True, eq=False)
class Real:
    """What is measured of the reference, class after class, and of its reconstructions."""

    features: np.ndarray
    named: np.ndarray
    floor_features: np.ndarray
    floor_named: np.ndarray


class Stages:
    """One tokenizer on one data set."""

    def __init__(self, cell: Cell, preset: Preset, space: Space) -> None:
        self.cell, self.preset, self.space = cell, preset, space
        self.key: TokenizerKey = tokenizer_key(cell)
        self.stores = stores_of(cell)

    def run(self) -> Outcome:
        """All stages, then the outcome."""
        cell, preset = self.cell, self.preset
        train = cell.parts["train"].store
        names = find_classes(train)
        numbers = class_of_rows(train, names)
        check_enough(numbers, names)
        reference = choose_reference(self.stores, names, preset.samples)
        self._check_reference(reference)
        folder, tokens = self._generator(names, numbers)
        extractor = build_extractor(self.space, device=cell.device)
        namer = trained_classifier(train, numbers, preset.classifier, device=cell.device)
        real = self._real(reference, extractor, namer)
        training = original_features(train, extractor, device=cell.device)
        generator = load_kept(folder, device=cell.device)
        tools = Tools(generator, preset.sampling, extractor, namer)
        order = Order(len(names), preset.samples)
        samples = [sample_set(cell, tools, order, number) for number in range(preset.seeds)]
        began = time.perf_counter()
        by_class = [np.flatnonzero(numbers == number) for number in range(len(names))]
        sets = self._sets(reference, real, samples, order, [training[rows] for rows in by_class])
        scores = Scores(
            cell.definitions,
            names,
            cell.plan.macro,
            flags=() if preset.ranked else (cell.plan.options.get("preset", "unranked"),),
        )
        nearest = self._score(scores, sets, reference, real, samples, order)
        add_diversity(cell, scores, preset.diversity_images, reference, samples, order)
        shown = gallery.Shown(samples[0], order, reference, self.stores, train, by_class, nearest)
        pictures = gallery.save(cell, shown)
        seconds = np.sum([each.seconds for each in samples], axis=0)
        return Outcome(
            metrics=scores.metrics,
            per_image=_table(samples, order, names, nearest),
            status="ok" if preset.ranked else "partial",
            status_reason=None if preset.ranked else _UNRANKED,
            warnings=self._warnings(reference),
            encode_seconds=tokens.encode_seconds,
            decode_seconds=float(seconds.sum()),
            metric_seconds=time.perf_counter() - began,
            gallery=pictures,
        )

    def _check_reference(self, reference: list[ReferenceClass]) -> None:
        empty = [each.name for each in reference if not each.images]
        if empty:
            message = f"no real image to compare with in {', '.join(empty)}: score a larger set"
            raise UsageError(message)

    def _generator(self, names: tuple[str, ...], numbers: np.ndarray) -> tuple[Path, Tokens]:
        """Codes and the trained generator; with a given one, no codes are needed."""
        cell = self.cell
        given = cell.plan.options.get("generator")
        if given is not None:
            facts = read_facts(Path(given))
            check_tokenizer(facts, self.key, where=given)
            if facts.classes != names:
                message = (
                    f"the generator {given} knows the classes {', '.join(facts.classes)}; "
                    f"{cell.plan.dataset_id} has {', '.join(names)}"
                )
                raise UsageError(message)
            return Path(given), Tokens(np.empty((0, 0, 0), np.uint8), 0.0)
        train = cell.parts["train"]
        tokens = tokens_of(cell, self.key, train.store, label=train.dataset.id)
        kept = np.flatnonzero(numbers >= 0)
        indices = tokens.indices if len(kept) == len(numbers) else tokens.indices[kept]
        precision = cache_facts(cell.identity).values()
        fingerprint = hash_value([train.store.fingerprint, list(names), *precision])
        data = TrainingData(indices, numbers[kept], names, fingerprint)
        return trained_generator(self.key, self.preset, data, device=cell.device), tokens

    def _real(
        self, reference: list[ReferenceClass], extractor: Extractor, namer: Classifier
    ) -> Real:
        """Features and names of the reference and of its reconstructions."""
        images = [image for each in reference for image in each.images]

        def shard(start: int, stop: int) -> dict[str, np.ndarray]:
            chosen: list[RealImage] = images[start:stop]
            originals = read_images(self.stores, chosen)
            back = decode_codes(self.cell, encode_images(self.cell, self.key, originals))
            return {
                "features": extract(extractor, originals),
                "named": namer.name(originals),
                "floor_features": extract(extractor, back),
                "floor_named": namer.name(back),
            }

        shards = list(
            run_shards(self.cell.work / "reference", len(images), shard, label="the reference")
        )
        return Real(**{name: np.concatenate([s[name] for s in shards]) for name in shards[0]})

    def _sets(
        self,
        reference: list[ReferenceClass],
        real: Real,
        samples: list[SampleSet],
        order: Order,
        training: list[np.ndarray],
    ) -> list[measure.ClassSets]:
        sets, start = [], 0
        for number, each in enumerate(reference):
            rows = slice(start, start + len(each.images))
            start = rows.stop
            # Equal numbers on both sides: the first samples where the reference has fewer.
            places = order.places(number)[: len(each.images)]
            sets.append(
                measure.ClassSets(
                    each.name,
                    real.features[rows],
                    real.floor_features[rows],
                    training[number],
                    tuple(one.features[places] for one in samples),
                    each.flags,
                )
            )
        return [*sets, measure.pooled(sets)] if len(sets) > 1 else sets

    def _score(
        self,
        scores: Scores,
        sets: list[measure.ClassSets],
        reference: list[ReferenceClass],
        real: Real,
        samples: list[SampleSet],
        order: Order,
    ) -> dict[str, measure.NearestTraining]:
        facts = measure.reference_facts(reference, self.cell.store.fingerprint)
        measure.add_distances(scores, self.space, sets, facts)
        measure.add_neighbours(scores, sets)
        names = scores.classes
        if len(names) > 1:
            asked = np.arange(len(order)) % order.classes
            measure.add_names(scores, names, [one.named for one in samples], asked)
            truth = np.concatenate(
                [np.full(len(each.images), number) for number, each in enumerate(reference)]
            )
            measure.add_names(scores, names, [real.named], truth, setting=REAL)
            measure.add_names(scores, names, [real.floor_named], truth, setting=FLOOR)
        return measure.add_nearest(scores, sets)

    def _warnings(self, reference: list[ReferenceClass]) -> list[str]:
        fewer = [
            f"{each.name} {len(each.images)}"
            for each in reference
            if len(each.images) < self.preset.samples
        ]
        if not fewer:
            return []
        return [
            f"fewer real images than the {self.preset.samples} samples per class, so as many "
            f"samples are compared: {', '.join(fewer)}"
        ]


def _table(
    samples: list[SampleSet],
    order: Order,
    names: tuple[str, ...],
    nearest: dict[str, measure.NearestTraining],
) -> pd.DataFrame:
    """One row per sample of every seed."""
    parts = []
    for seed, one in enumerate(samples):
        classes = np.arange(len(order)) % order.classes
        ratios = np.full(len(order), np.nan)
        for number, name in enumerate(names):
            if name in nearest:
                found = nearest[name].ratios[seed]
                ratios[order.places(number)[: len(found)]] = found
        parts.append(
            pd.DataFrame(
                {
                    "id": [
                        f"seed {seed}/{names[c]}/{place // order.classes:05d}"
                        for place, c in enumerate(classes)
                    ],
                    "group": [names[c] for c in classes],
                    "sha256": one.sha256,
                    "named": [names[c] for c in one.named],
                    "nearest_training": ratios,
                }
            )
        )
    return pd.concat(parts, ignore_index=True)

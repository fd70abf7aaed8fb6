"""The stages of one cell, in order; each one is kept on its own."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ...harness.errors import UsageError
from ...harness.file_hashes import file_sha256
from ...harness.shards import run_shards
from ...harness.task import Cell, Outcome
from ...harness.vocabulary import FLOOR, REAL
from ..classifier import trained_classifier
from ..recon.features import Space, build_extractor, extract, original_features
from . import gallery, measure
from .classes import check_enough, class_of_rows, classes_of, pick_per_class
from .copies import copied_features
from .definitions import COPIES, learnt_images
from .diversity import add_diversity
from .generator_facts import class_numbers, load_kept, weights_file
from .obtained import Learnt, obtain
from .presets import Preset
from .reference import (
    TRAIN,
    RealImage,
    ReferenceClass,
    choose_reference,
    read_images,
    scored_training_images,
    stores_of,
)
from .sample import Order, SampleSet, Tools, sample_set
from .scores import Scores
from .tokenizer_key import TokenizerKey, tokenizer_key
from .tokens import decode_codes, encode_images

if TYPE_CHECKING:
    from ...harness.metrics.extractors.protocol import Extractor
    from ..classifier import Classifier


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
        train = cell.parts[TRAIN].store
        names = classes_of(cell.parts[TRAIN].dataset, cell.plan.limit)
        numbers = class_of_rows(train, names)
        check_enough(numbers, names)
        reference = choose_reference(self.stores, names, preset.samples)
        self._check_reference(reference)
        learnt = pick_per_class(train, numbers, learnt_images(cell.plan.options))
        found = obtain(cell, self.key, Learnt(names, numbers[learnt], learnt))
        # Before all that is only measured with it: a file that does not fit is told at once.
        generator = load_kept(found.place, found.facts, self.key, device=cell.device)
        extractor = build_extractor(self.space, device=cell.device)
        namer = trained_classifier(train, numbers, preset.classifier, device=cell.device)
        real = self._real(reference, extractor, namer)
        training = original_features(train, extractor, device=cell.device)
        tools = Tools(
            generator=generator,
            weights_sha256=file_sha256(weights_file(found.place)),
            numbers=class_numbers(found.facts, names, where=found.place),
            sampling=preset.sampling,
            extractor=extractor,
            namer=namer,
        )
        order = Order(len(names), preset.samples)
        again = max(preset.diversity_images, gallery.SHOWN)
        samples = [sample_set(cell, tools, order, number, again) for number in range(preset.seeds)]
        began = time.perf_counter()
        by_class = [learnt[numbers[learnt] == number] for number in range(len(names))]
        rows = np.intersect1d(learnt, pick_per_class(train, numbers, COPIES))
        copied = copied_features(cell, self.key, rows, extractor)
        copies = [copied[numbers[rows] == number] for number in range(len(names))]
        sets = self._sets(reference, real, samples, order, training, by_class, copies)
        doubts = found.doubts(cell.plan.options)
        flags = tuple(doubt.flag for doubt in doubts)
        scores = Scores(cell.definitions, names, cell.plan.macro, flags=flags)
        nearest = self._score(scores, sets, reference, real, samples, order, training)
        add_diversity(cell, scores, preset.diversity_images, reference, samples, order)
        shown = gallery.Shown(samples[0], order, reference, self.stores, train, nearest)
        pictures = gallery.save(cell, shown)
        seconds = np.sum([each.seconds for each in samples], axis=0)
        return Outcome(
            metrics=scores.metrics,
            per_image=_table(samples, order, names, nearest),
            status="partial" if doubts else "ok",
            status_reason="; ".join(doubt.reason for doubt in doubts) or None,
            warnings=self._warnings(reference, names),
            encode_seconds=found.encode_seconds,
            decode_seconds=float(seconds.sum()),
            metric_seconds=time.perf_counter() - began,
            images_per_second=len(order) * preset.seeds / float(seconds[0]),
            gallery=pictures,
        )

    def _check_reference(self, reference: list[ReferenceClass]) -> None:
        empty = [each.name for each in reference if not each.images]
        if empty:
            message = f"no real image to compare with in {', '.join(empty)}: score a larger set"
            raise UsageError(message)

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
        training: np.ndarray,
        learnt: list[np.ndarray],
        copies: list[np.ndarray],
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
                    np.array(each.held_out, dtype=bool),
                    real.floor_features[rows],
                    training[np.array(each.others, dtype=np.int64)],
                    learnt[number],
                    tuple(one.features[places] for one in samples),
                    each.flags,
                    copies[number],
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
        training: np.ndarray,
    ) -> dict[str, measure.NearestTraining]:
        facts = measure.reference_facts(reference, self.cell.store.fingerprint)
        measure.add_distances(scores, self.space, sets, facts)
        measure.add_neighbours(scores, sets)
        names = scores.classes
        if len(names) > 1:
            asked = np.arange(len(order)) % order.classes
            measure.add_names(scores, names, [one.named for one in samples], asked)
            measure.add_real_names(scores, reference, real.named, setting=REAL)
            measure.add_real_names(scores, reference, real.floor_named, setting=FLOOR)
        return measure.add_nearest(scores, sets, training)

    def _warnings(self, reference: list[ReferenceClass], names: tuple[str, ...]) -> list[str]:
        found = []
        fewer = [
            f"{each.name} {len(each.images)}"
            for each in reference
            if len(each.images) < self.preset.samples
        ]
        if fewer:
            found.append(
                f"fewer real images than the {self.preset.samples} samples per class, so as many "
                f"samples are compared: {', '.join(fewer)}"
            )
        if learnt := scored_training_images(self.stores):
            found.append(
                f"{learnt} of {len(self.cell.store)} scored images are pixel by pixel in the "
                "training part, and are not among the real images to compare with"
            )
        strange = int((class_of_rows(self.cell.store, names) < 0).sum())
        if strange:
            found.append(
                f"{strange} of {len(self.cell.store)} scored images are of a class that the "
                "training part does not have, and are left out"
            )
        return found


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

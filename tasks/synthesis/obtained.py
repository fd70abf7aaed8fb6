"""The generator of a cell, trained or given, and why a row with it may take no part in ranks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ...harness.files import hash_value
from .classes import class_name
from .definitions import chosen_preset
from .generator_facts import (
    GeneratorFacts,
    check_tokenizer,
    class_numbers,
    given_generator,
    read_facts,
)
from .presets import DEFAULT, preset_identity
from .tokens import tokens_of
from .trained import TrainingData, trained_generator

if TYPE_CHECKING:
    import numpy as np

    from ...harness.task import Cell
    from .tokenizer_key import TokenizerKey


class Doubt(NamedTuple):
    """Why a row takes no part in ranks."""

    flag: str
    reason: str


@dataclass(frozen=True, slots=True)
class Obtained:
    """A trained generator.

    Attributes:
        place: its folder, or a checkpoint file.
        facts: what is known of it.
        same_images: whether it has learnt this set's training images, and no others.
        encode_seconds: spent on their codes; 0 where they were there.
    """

    place: Path
    facts: GeneratorFacts
    same_images: bool
    encode_seconds: float = 0.0

    def doubts(self, options: Mapping[str, str]) -> list[Doubt]:
        """Why its row is not ranked; none where it is."""
        found = []
        if not chosen_preset(options).ranked:
            name = preset_identity(options.get("preset", DEFAULT))
            found.append(Doubt(name, "preset for trying out only: never ranked"))
        if not self.facts.tokenizer:
            reason = "a checkpoint file does not say whose codes it makes, nor what it has learnt"
            return [*found, Doubt("unverified generator", f"{reason}: never ranked")]
        if not self.facts.ranked and not found:
            reason = "the generator is of a preset for trying out: never ranked"
            found.append(Doubt("generator of an unranked preset", reason))
        if not self.same_images:
            reason = "the generator learnt other images than this set's training part: never ranked"
            found.append(Doubt("generator of other images", reason))
        return found


@dataclass(frozen=True, slots=True, eq=False)
class Learnt:
    """The images that a generator learns, or should have learnt.

    Attributes:
        names: of the classes, by number.
        classes: int64 (N,).
        rows: int64 (N,), of the training part.
    """

    names: tuple[str, ...]
    classes: np.ndarray
    rows: np.ndarray


def obtain(cell: Cell, key: TokenizerKey, learnt: Learnt) -> Obtained:
    """The generator that the user gave, or one for these images: kept, or trained now.

    Raises:
        MissingPrerequisite: nothing lies at the given place.
        UsageError: the given one makes other codes, or does not know a class; or there are too
            few images to train one.
        Interrupted: SIGTERM came while it was trained; the next run goes on.
    """
    part, options = cell.parts["train"], cell.plan.options
    images = [part.store.rows[row] for row in learnt.rows.tolist()]
    known_by = [[row.id, row.sha256, class_name(row, learnt.names)] for row in images]
    fingerprint = hash_value(known_by)
    given = given_generator(options)
    if given is not None:
        # No codes are needed.
        facts = read_facts(given, options)
        check_tokenizer(facts, key, where=given)
        class_numbers(facts, learnt.names, where=given)
        return Obtained(given, facts, same_images=facts.data == fingerprint)
    preset = chosen_preset(options)
    # Too few images for the warm-up are told before they are encoded.
    preset.settings(len(learnt.rows), preset.images_per_step(key.positions))
    tokens = tokens_of(cell, key, part.store, learnt.rows, label=part.dataset.id)
    data = TrainingData(tokens.indices, learnt.classes, learnt.names, fingerprint)
    place = trained_generator(key, preset, data, device=cell.device)
    facts = read_facts(place, options)
    return Obtained(place, facts, same_images=True, encode_seconds=tokens.encode_seconds)

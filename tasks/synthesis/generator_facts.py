"""What is known of a trained generator: of one that medbench kept, or of a bare checkpoint file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...harness.documents import load_json
from ...harness.errors import MissingPrerequisite, UsageError
from ...harness.file_hashes import file_sha256
from ...harness.files import hash_value
from ...harness.sealed import check_seal
from ...harness.training.config_terms import read_fields
from .presets import DEFAULT, find_preset

if TYPE_CHECKING:
    from .generator.network import Generator
    from .tokenizer_key import TokenizerKey

FACTS = "generator.json"
WEIGHTS = "weights.safetensors"

PUBLISHED_CLASSES = ("microscopy", "ultrasound", "xray", "dermoscopy", "pathology", "fundus")
"""Classes of upstream's checkpoint by number: the order of its sampling script."""


@dataclass(frozen=True, slots=True)
class GeneratorFacts:
    """What lies beside a generator's weights.

    Attributes:
        config: the network's terms.
        classes: names by number.
        tokenizer: whose codes it makes; empty where nothing says so.
        training: the preset's terms.
        data: fingerprint of the training images and their classes; empty where it is not known.
        codes: SHA-256 of the codes that it learnt.
        ranked: whether its preset takes part in ranks.
    """

    config: dict[str, Any]
    classes: tuple[str, ...]
    tokenizer: dict[str, Any]
    training: dict[str, Any]
    data: str
    codes: str
    ranked: bool

    @property
    def train_images(self) -> int | None:
        """Training images of each class at most; None: all."""
        return self.training.get("train_images")


def given_generator(options: Mapping[str, str]) -> Path | None:
    """Where the generator lies that the user gave with `--generator`."""
    if "generator" not in options:
        return None
    place = Path(options["generator"])
    # Taken as a bare file, the weights of a kept generator would lose the numbers of its classes.
    kept = place.name == WEIGHTS and (place.parent / FACTS).is_file()
    return place.parent if kept else place


def generator_sha256(place: Path) -> str:
    """Of a generator's weights and, where it has one, its description."""
    weights = file_sha256(weights_file(place))
    return weights if place.is_file() else hash_value([weights, file_sha256(place / FACTS)])


def weights_file(place: Path) -> Path:
    """The weights of a kept generator's folder; a checkpoint file is its own."""
    return place / WEIGHTS if place.is_dir() else place


def read_facts(place: Path, options: Mapping[str, str]) -> GeneratorFacts:
    """The facts of a kept generator's folder, or what is taken for true of a checkpoint file.

    A file tells nothing but its weights: its network is the preset's, its classes are in the
    published order, and whose codes it makes and what it has learnt stay unknown.

    Raises:
        MissingPrerequisite: there is no generator at that place.
        UsageError: its description is damaged.
    """
    if place.is_file():
        preset = find_preset(options.get("preset", DEFAULT))
        return GeneratorFacts(
            config=preset.network,
            classes=PUBLISHED_CLASSES,
            tokenizer={},
            training={"checkpoint": file_sha256(place)},
            data="",
            codes="",
            ranked=False,
        )
    path = place / FACTS
    if not path.is_file() or not (place / WEIGHTS).is_file():
        message = (
            f"--generator {place}: no generator there ({FACTS} and {WEIGHTS} are wanted). Give "
            "the folder of one that medbench trained (the log of such a run names it), or a "
            "checkpoint file in upstream's keys."
        )
        raise MissingPrerequisite(message)
    check_seal(path, "the generator's description")
    try:
        content = load_json(path)
    except (OSError, ValueError) as error:
        message = f"{path} does not describe a generator ({error!r})"
        raise UsageError(message) from error
    return read_fields(GeneratorFacts, content, f"the generator's description {path}")


def check_tokenizer(facts: GeneratorFacts, key: TokenizerKey, *, where: Path) -> None:
    """Refuse a generator of another tokenizer's codes.

    Raises:
        UsageError: says whose it is and whose it should be.
    """
    if not facts.tokenizer:
        return
    wanted = key.terms()
    different = [name for name, value in wanted.items() if facts.tokenizer.get(name) != value]
    if different:
        told = "; ".join(
            f"{n}: {facts.tokenizer.get(n)} there, {wanted[n]} here" for n in different
        )
        message = (
            f"the generator {where} makes the codes of another tokenizer ({told}). Its codes mean "
            "nothing to this one: train one without --generator."
        )
        raise UsageError(message)


def class_numbers(facts: GeneratorFacts, names: tuple[str, ...], *, where: Path) -> tuple[int, ...]:
    """The generator's number of each class.

    Raises:
        UsageError: it does not know one of them.
    """
    unknown = [name for name in names if name not in facts.classes]
    if unknown:
        message = (
            f"the generator {where} knows the classes {', '.join(facts.classes)}, and not "
            f"{', '.join(unknown)}, which the data have"
        )
        raise UsageError(message)
    return tuple(facts.classes.index(name) for name in names)


def load_kept(place: Path, facts: GeneratorFacts, key: TokenizerKey, *, device: str) -> Generator:
    """The network of a generator.

    Raises:
        UsageError: the weights do not fit the facts, or the tokenizer's codes.
    """
    from .generator.load import load_generator

    config = {**facts.config, **key.network_terms(len(facts.classes))}
    try:
        return load_generator(config=config, weights=weights_file(place), device=device)
    except UsageError as error:
        if facts.tokenizer:
            raise
        message = (
            f"{error} A checkpoint file's network is taken from --preset; the published one is "
            "that of `paper`."
        )
        raise UsageError(message) from error

"""Questions with short answers: what a trait of an image is, and how it is asked for.

The text alone must tell nothing of the answer, so

* a claim holds with probability one half; a false one names another value, each equally likely;
* the wrong one of two offered values is any other value, and their order is drawn;
* where a value is more frequent than another, questions about it are dropped until both are
  equally frequent (`Trait.weights`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from .latent import chance, pick

if TYPE_CHECKING:
    import numpy as np

MOST = 6
"""Questions about one image at most."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One question about one image.

    Attributes:
        topic: name of the trait asked about, such as "finding" or "side".
        question: the question.
        answer: "yes", "no" or one of two offered values (closed), or a value of the trait (open).
        kind: closed or open.
    """

    topic: str
    question: str
    answer: str
    kind: Literal["closed", "open"]


@dataclass(frozen=True, slots=True)
class Trait:
    """Something that an image shows, and how it is asked for.

    Attributes:
        topic: name of the trait.
        value: the image's value.
        values: the values that images of its group can have.
        claims: phrasings of a yes-no question with `{}` for a value.
        choices: phrasings of a question that offers two values as `{}` and `{}`.
        facts: phrasings of a yes-no question that names no value, where the values are yes and no.
        opens: phrasings of an open question.
        weights: how frequent each value is, in the order of `values`; empty if equally frequent.
    """

    topic: str
    value: str
    values: tuple[str, ...]
    claims: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()
    facts: tuple[str, ...] = ()
    opens: tuple[str, ...] = ()
    weights: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Traits:
    """What can be asked about an image.

    Attributes:
        core: asked in every form that they have.
        extra: asked in one form each, as many as fit; their number may depend on the finding.
    """

    core: tuple[Trait, ...]
    extra: tuple[Trait, ...]


def ask(rng: np.random.Generator, traits: Traits) -> tuple[Asked, ...]:
    """Ask for the core traits and then for others, `MOST` questions at most."""
    asked: list[Asked] = []
    for trait in traits.core:
        asked.append(_ask_closed(rng, trait))
        asked.append(_ask_open(rng, trait))
    for place in rng.permutation(len(traits.extra)):
        trait = traits.extra[place]
        if rng.uniform() >= _share(trait):
            continue
        closed = bool(trait.claims or trait.choices or trait.facts)
        if closed and (not trait.opens or chance(rng, 0.5)):
            asked.append(_ask_closed(rng, trait))
        else:
            asked.append(_ask_open(rng, trait))
    return tuple(asked[:MOST])


def _share(trait: Trait) -> float:
    """Share of images with this value that are asked, so that all values are equally frequent."""
    if not trait.weights:
        return 1.0
    return min(trait.weights) / trait.weights[trait.values.index(trait.value)]


def _ask_open(rng: np.random.Generator, trait: Trait) -> Asked:
    return Asked(trait.topic, pick(rng, trait.opens), trait.value, "open")


def _ask_closed(rng: np.random.Generator, trait: Trait) -> Asked:
    if trait.facts:
        return Asked(trait.topic, pick(rng, trait.facts), trait.value, "closed")
    other = pick(rng, tuple(value for value in trait.values if value != trait.value))
    holds = chance(rng, 0.5)
    if trait.claims and (not trait.choices or chance(rng, 0.6)):
        question = pick(rng, trait.claims).format(trait.value if holds else other)
        return Asked(trait.topic, question, "yes" if holds else "no", "closed")
    offered = (trait.value, other) if holds else (other, trait.value)
    question = pick(rng, trait.choices).format(*offered)
    return Asked(trait.topic, question, trait.value, "closed")

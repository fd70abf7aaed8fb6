"""What is learnt: captions and questions of a part of a data set, as numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ...harness.files import hash_value
from .collate import Segment
from .language import Language
from .prompt import Template
from .scoring.asked import question_set, questions_about

if TYPE_CHECKING:
    from ...harness.task import Part

Content = Literal["captions", "pairs", "text"]


@dataclass(frozen=True, slots=True)
class Talk:
    """What is said of an image.

    Attributes:
        image: its row in the store.
        caption: None where it has none.
        pairs: questions with their answers.
    """

    image: int
    caption: str | None
    pairs: Sequence[tuple[str, str]]


def talks_of(part: Part, limit: int | None) -> list[Talk]:
    """Of every image of a part, in the order of its store.

    Args:
        part: what was ingested.
        limit: of images per group, with which it was ingested.
    """
    captions = {item.id: item.caption for item in part.dataset.items(limit)}
    pairs: dict[str, list[tuple[str, str]]] = {}
    for asked in questions_about(question_set(part.dataset), captions):
        pairs.setdefault(asked.image_id, []).append((asked.question, asked.answer))
    return [
        Talk(number, captions.get(row.id), pairs.get(row.id, []))
        for number, row in enumerate(part.store.rows)
    ]


def texts_of(talks: Sequence[Talk], template: Template) -> Iterator[str]:
    """All texts, as a vocabulary is trained on them."""
    for talk in talks:
        if talk.caption:
            yield template.caption + template.lead + talk.caption
        for question, answer in talk.pairs:
            yield template.ask(question) + template.lead + answer


@dataclass(frozen=True, slots=True)
class Unit:
    """What is drawn as a whole: an image with what is said of it, or one pair.

    Attributes:
        image: row of the store; -1 for text alone.
        told: numbers of the text that stands in the image's place.
        segments: with answers.
    """

    image: int
    told: tuple[int, ...]
    segments: tuple[Segment, ...]


def units_of(
    talks: Sequence[Talk], language: Language, template: Template, content: Content, *, each: bool
) -> list[Unit]:
    """The units of a stage.

    Args:
        talks: what is said of the images.
        language: for its numbers.
        template: the prompt.
        content: `captions`: image -> caption; `pairs`: image, question -> answer; `text`: the
            same with the caption in the image's place, which is also to be said again.
        each: whether every pair is a unit of its own.
    """
    units: list[Unit] = []
    for talk in talks:
        caption = _caption(language, template, talk.caption) if talk.caption else None
        segments: list[Segment] = []
        if caption is not None and content != "pairs":
            segments.append(Segment(tuple(language.ids(template.caption)), caption))
        if content != "captions":
            segments += [
                Segment(
                    tuple(language.ids(template.ask(question))),
                    _answer(language, template.lead + answer.strip()),
                )
                for question, answer in talk.pairs
            ]
        told = caption[:-1] if caption is not None and content == "text" else ()
        image = -1 if content == "text" else talk.image
        if each:
            units += [Unit(image, told, (segment,)) for segment in segments]
        elif segments:
            units.append(Unit(image, told, tuple(segments)))
    return units


def _caption(language: Language, template: Template, caption: str) -> tuple[int, ...]:
    text = template.lead + caption
    if template.caption_end:
        return tuple(language.ids(text + template.caption_end))
    return _answer(language, text)


def _answer(language: Language, text: str) -> tuple[int, ...]:
    return (*language.ids(text), language.end)


def units_key(units: Sequence[Unit]) -> str:
    """SHA-256 over all numbers of all units."""
    return hash_value([[u.image, u.told, [[s.asked, s.answer] for s in u.segments]] for u in units])

"""Conformance checks of what must not matter: repetition, the rest of the batch, history."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..errors import NotApplicable, ValidationFailed
from ..protocol import Encoding
from .answers import TOLERANCE, encoding_difference, relative_difference
from .contracts import require
from .state import stored_state

if TYPE_CHECKING:
    from collections.abc import Callable

    from .subject import Subject


def determinism(subject: Subject) -> str:
    """The same call twice gives the same bits."""
    difference = subject.answers.difference(subject.ask(subject.images))
    require(difference == 0, f"two calls on the same images differ by {difference:.1e} (relative)")
    return "two calls, the same bits"


def batch_invariance(subject: Subject) -> str:
    """Neither the size of the batch nor the order of its images matters.

    Indices and payloads must be equal, floats within `TOLERANCE` of the largest value.
    """
    places = list(range(len(subject.images)))
    ways = {"one image at a time": [[p] for p in places], "reversed": [places[::-1]]}
    said = []
    for way, groups in ways.items():
        try:
            difference = max(
                subject.answers.select(group).difference(subject.ask(subject.images[group]))
                for group in groups
            )
        except ValidationFailed as failure:
            message = f"{way}: {failure}; images of a batch must not influence one another"
            raise ValidationFailed(message) from failure
        require(difference <= TOLERANCE, f"{way}: results differ by {difference:.1e} (relative)")
        said.append(f"{way} {difference:.1e}")
    return "largest relative difference: " + ", ".join(said)


def no_state_change(subject: Subject) -> str:
    """Encoding, decoding and features leave every stored tensor as it was."""
    subject.ask(subject.images)
    before = subject.initial_state
    changed = before.changed(stored_state(subject.tokenizer))
    require(not changed, f"changed by encode, decode or features: {', '.join(changed[:5])}")
    return f"{len(before.digests)} stored tensors unchanged"


def input_untouched(subject: Subject) -> str:
    """No method writes into the images or the encoding that it is given."""
    images = subject.images.clone()
    names = [n for n in ("encode", *subject.view_names) if n not in subject.info.cannot]
    calls: dict[str, Callable[[Tensor], object]] = {
        name: getattr(subject.tokenizer, name) for name in names
    }
    for name, call in calls.items():
        call(images)
        require(torch.equal(images, subject.images), f"{name} writes into the images it is given")
    if {"encode", "decode"} & subject.info.cannot.keys():
        return "images unchanged"
    encoding = subject.encode(subject.images)
    subject.decode(encoding)
    difference = encoding_difference(subject.encode(subject.images), encoding)
    require(difference <= TOLERANCE, "decode writes into the encoding it is given")
    return "images and encoding unchanged"


def inference_mode(subject: Subject) -> str:
    """No module is in training mode, no result carries a gradient."""
    training = stored_state(subject.tokenizer).training
    require(not training, f"in training mode: {', '.join(training[:3])}; call .eval() on it")
    answers = subject.answers
    outputs: dict[str, Tensor | None] = {"decoded images": answers.decoded, **answers.views}
    if answers.encoding is not None:
        outputs |= {"indices": answers.encoding.indices, "latents": answers.encoding.latents}
    graded = [name for name, value in outputs.items() if value is not None and value.requires_grad]
    require(not graded, f"gradients on {', '.join(graded)}; run under torch.no_grad()")
    return "evaluation mode, no gradient"


def decode_from_indices(subject: Subject) -> str:
    """A discrete tokenizer needs nothing but the indices to decode."""
    if subject.info.kind != "discrete":
        message = f"kind {subject.info.kind} has no codes"
        raise NotApplicable(message)
    decoded = subject.decode(Encoding(indices=subject.encoding.indices))
    difference = relative_difference("decoded from indices", subject.decoded, decoded)
    require(
        difference <= TOLERANCE,
        f"images decoded from indices alone differ by {difference:.1e} (relative) from those of "
        "the full encoding",
    )
    return f"relative difference {difference:.1e}"

"""What pages call a task, and what they say of it."""

from __future__ import annotations

from dataclasses import dataclass

from ...harness.registry import task_entries
from .names import page_name

_TEXTS = {
    "recon": "Images are encoded, decoded and compared with exactly what went in: pixel scores "
    "per image, distances between sets of images, and the use of the codebooks.",
    "probe": "The tokenizer is frozen; a linear classifier learns labels from its features. "
    "What it finds is what the codes keep of the finding, whatever the pixels look like.",
    "synthesis": "A generator learns the tokenizer's codes and draws new images. Values stand "
    "beside those of real images, which are the bound.",
    "vqa": "A language model reads the tokenizer's features and answers questions on images. "
    "Compare tokenizers only under one language model and recipe: accuracy measures both.",
}
_TITLES = {
    "recon": "Reconstruction",
    "probe": "Linear probe",
    "synthesis": "Synthesis",
    "vqa": "VQA",
}


@dataclass(frozen=True, slots=True)
class TaskText:
    """Words for a task."""

    name: str
    page: str
    title: str
    summary: str
    text: str


def task_text(name: str) -> TaskText:
    """Words for a task, registered or not."""
    entry = task_entries().get(name)
    return TaskText(
        name=name,
        page=page_name(name),
        title=_TITLES.get(name, name),
        summary=entry.summary if entry else "a task that is not registered here",
        text=_TEXTS.get(name, entry.summary if entry else ""),
    )

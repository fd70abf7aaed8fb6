"""The teacher in miniature: an open_clip model that a CPU trains in minutes, and its files."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ...documents import load_json
from ...errors import MissingPrerequisite, UsageError
from ...files import write_json
from ...weights import load_into, read_state_dict
from ..config_terms import read_fields
from .clip_teacher import ClipTeacher
from .image_tower import ImageTower
from .words import WordTokenizer

WEIGHTS = "weights.safetensors"
FACTS = "miniature.json"
"""Sizes and vocabulary, beside the weights."""
_REPLACED = {"layers": 1, "width": 64, "patch_size": 32, "image_size": 32}
"""open_clip builds no image tower from outside: it makes this one, which ours then replaces."""


@dataclass(frozen=True, slots=True)
class MiniatureTerms:
    """What the section `miniature` of a configuration says.

    Attributes:
        side: of the images that the tower sees, pixels; others are brought to it.
        image_widths: of the image tower's stages.
        embed_dims: of the space in which images and texts meet.
        text_width: of the text transformer.
        text_layers: of the text transformer.
        text_heads: of the text transformer.
        context_length: words per text, its end included.
        vocabulary_images: images whose captions give the vocabulary.
        shift: pixels by which images are moved at most in training.
        light: how far their brightness and contrast are changed, as a share.
    """

    side: int = 64
    image_widths: tuple[int, ...] = (16, 32, 64, 128)
    embed_dims: int = 128
    text_width: int = 128
    text_layers: int = 1
    text_heads: int = 4
    context_length: int = 48
    vocabulary_images: int = 2000
    shift: int = 4
    light: float = 0.2


def build_miniature(terms: MiniatureTerms, words: WordTokenizer, *, seed: int) -> nn.Module:
    """An `open_clip.model.CustomTextCLIP` whose weights follow from `seed` alone.

    Raises:
        UsageError: a size is impossible.
    """
    from open_clip.model import CustomTextCLIP

    text = {
        "context_length": terms.context_length,
        "vocab_size": words.vocabulary_size,
        "width": terms.text_width,
        "heads": terms.text_heads,
        "layers": terms.text_layers,
    }
    if terms.text_width % terms.text_heads:
        message = f"text_width {terms.text_width} is no multiple of text_heads {terms.text_heads}"
        raise UsageError(message)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network: Any = CustomTextCLIP(terms.embed_dims, _REPLACED, text)  # type: ignore[arg-type]
        network.visual = ImageTower(terms.image_widths, terms.embed_dims, side=terms.side)
    return network


def save_facts(folder: Path, terms: MiniatureTerms, words: WordTokenizer) -> None:
    """Write what the weights file does not hold: sizes and vocabulary.

    Raises:
        UsageError: the folder cannot be written.
    """
    write_json(folder / FACTS, {"miniature": asdict(terms), "words": list(words.words)})


def load_miniature(folder: Path) -> ClipTeacher:
    """The teacher that a stage left in its folder.

    Raises:
        MissingPrerequisite: the stage has not been trained to its end.
        UsageError: its files are damaged or do not belong together.
    """
    require_files(folder)
    terms, words = _read_facts(folder / FACTS)
    network = build_miniature(terms, words, seed=0)
    load_into(network, read_state_dict(folder / WEIGHTS), name=str(folder / WEIGHTS))
    return as_teacher(network, words)


def require_files(folder: Path) -> None:
    """Look for a teacher's files, without reading them.

    Raises:
        MissingPrerequisite: one is not there.
    """
    for name in (FACTS, WEIGHTS):
        if not (folder / name).is_file():
            message = (
                f"the teacher in miniature is not in {folder}: {name} is missing. Train it as an "
                "earlier stage of the run (or `medbench train teacher-micro --output FOLDER`)"
            )
            raise MissingPrerequisite(message)


def as_teacher(network: nn.Module, words: WordTokenizer) -> ClipTeacher:
    """The network behind a teacher's interface; its image projection is taken off."""
    return ClipTeacher(network, words, resize="area")


def _read_facts(path: Path) -> tuple[MiniatureTerms, WordTokenizer]:
    try:
        content = load_json(path)
        given, words = content["miniature"], content["words"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        message = f"{path} does not describe a teacher in miniature ({error!r})"
        raise UsageError(message) from error
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        message = f"{path}: `words` must be a list of words"
        raise UsageError(message)
    terms = read_fields(MiniatureTerms, given, str(path))
    return terms, WordTokenizer(words, terms.context_length)

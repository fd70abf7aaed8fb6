"""A finished run as a variant of the tokenizer that it trained."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..entries import TokenizerEntry
from ..errors import UsageError
from ..registered import Registration, check_name, register_variant
from ..tokenizer_registry import load_tokenizer, tokenizer_entries
from .run_plan import Stage


def check_registration(stages: Sequence[Stage], name: str) -> None:
    """Refuse, before anything is trained, what could not be registered afterwards.

    Raises:
        UsageError: the last stage trains no tokenizer, or the name cannot be had.
    """
    check_name(_entry(stages), name)


def register_run(stages: Sequence[Stage], weights: Path, name: str) -> str:
    """Register the exported weights of the last stage; returns `tokenizer@name`."""
    last = stages[-1].config
    info = load_tokenizer(_entry(stages).name, config=last["model"], weights=weights).info
    registration = Registration(
        config=last["model"], weights=weights, bits_per_image=info.bits_per_image, trained=last
    )
    full_name = register_variant(_entry(stages), name, registration)
    tokenizer_entries.cache_clear()  # so that this process finds it too
    return full_name


def _entry(stages: Sequence[Stage]) -> TokenizerEntry:
    entry = tokenizer_entries().get(stages[-1].recipe)
    if entry is None:
        message = f"--register needs a run that ends with a tokenizer, not with {stages[-1].recipe}"
        raise UsageError(message)
    return entry

"""Tokenizers by name: which are registered, what a user's reference means, and building it.

A reference is `name`, `name@variant`, `family:ARGUMENT` or `package.module:factory`.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .entries import Family, TokenizerEntry, Variant
from .errors import UsageError
from .file_hashes import file_sha256
from .files import hash_value
from .inputs import read_config
from .registered import registered_variants
from .registry import by_name, foreign_code, load_target, plugins, unknown

if TYPE_CHECKING:
    from torch import Tensor

    from .protocol import Tokenizer

_CATALOGUES = ("medbench.tokenizers.catalogue", "medbench.baselines.catalogue")


@dataclass(frozen=True, slots=True)
class TokenizerChoice:
    """A tokenizer as a user asked for it, before it is built.

    `config` and `weights` are what the user gave, or None for the variant's own.
    """

    entry: TokenizerEntry
    variant: str
    config: Mapping[str, Any] | None = None
    weights: Path | None = None

    @property
    def full_name(self) -> str:
        """`name@variant`."""
        return f"{self.entry.name}@{self.variant}"

    @property
    def declared(self) -> Variant | None:
        """The catalogue's variant; None where the user brought config or weights."""
        return self.entry.variants.get(self.variant)


@cache
def tokenizer_entries() -> dict[str, TokenizerEntry]:
    """All registered tokenizers by name, built-in ones first."""
    entries = [e for path in _CATALOGUES for e in importlib.import_module(path).ENTRIES]
    entries += [_third_party_tokenizer(name, *rest) for name, *rest in plugins("tokenizers")]
    return by_name("tokenizer", [_with_registered(entry) for entry in entries])


def _with_registered(entry: TokenizerEntry) -> TokenizerEntry:
    """The entry with the variants that this machine's user trained; published ones come first."""
    own = {k: v for k, v in registered_variants(entry.name).items() if k not in entry.variants}
    return replace(entry, variants={**entry.variants, **own}) if own else entry


@cache
def family_entries() -> dict[str, Family]:
    """All families of tokenizers by prefix."""
    families = [f for p in _CATALOGUES for f in getattr(importlib.import_module(p), "FAMILIES", ())]
    return {family.prefix: family for family in families}


def _third_party_tokenizer(name: str, target: str, origin: str) -> TokenizerEntry:
    return TokenizerEntry(
        name=name,
        target=target,
        kind="discrete",
        default_variant="default",
        summary=f"third party: {target}",
        variants={"default": Variant(summary="as its package builds it")},
        origin=origin,
    )


def choose_tokenizer(
    reference: str,
    *,
    config: Mapping[str, Any] | None = None,
    weights: Path | None = None,
    label: str | None = None,
) -> TokenizerChoice:
    """Resolve a reference without importing the tokenizer's code.

    With `weights` or `config` the variant is `label`, by default the first eight digits of the
    weights' (or else the configuration's) hash.
    """
    found = _find(reference)
    entry, variant = found.entry, found.variant
    weights = weights or found.weights
    if weights is None and config is None:
        if label is not None:
            message = "--label names a variant of your own: it goes with --weights or --config"
            raise UsageError(message)
        return _registered_variant(entry, variant or entry.default_variant)
    if variant and variant not in entry.variants:
        raise unknown("variant", variant, entry.variants, listing="medbench list tokenizers")
    base = entry.variants.get(variant) if variant else None
    if config is None and base is not None:
        config = base.config
    own = label or (file_sha256(weights) if weights is not None else hash_value(config))[:8]
    if own in entry.variants:
        message = f"--label {own!r} is a published variant of {entry.name}: choose another label"
        raise UsageError(message)
    return TokenizerChoice(entry, own, config=config, weights=weights)


@dataclass(frozen=True, slots=True)
class _Found:
    entry: TokenizerEntry
    variant: str
    weights: Path | None = None


def _find(reference: str) -> _Found:
    prefix, colon, rest = reference.partition(":")
    if colon and prefix in family_entries():
        argument, _, revision = rest.partition("@")
        resolved = load_target(family_entries()[prefix].target)(argument, revision or None)
        return _Found(resolved.entry, resolved.entry.default_variant, resolved.weights)
    if colon:
        target, _, variant = reference.partition("@")
        return _Found(_direct_entry(target), variant)
    name, _, variant = reference.partition("@")
    entries = tokenizer_entries()
    aliases = {alias: e.name for e in entries.values() for alias in e.aliases}
    entry = entries.get(aliases.get(name, name))
    if entry is None:
        names = [*entries, *aliases]
        raise unknown("tokenizer", name, names, listing="medbench list tokenizers")
    return _Found(entry, variant)


def _direct_entry(target: str) -> TokenizerEntry:
    entry = _third_party_tokenizer(target.replace(":", "."), target, "command line")
    return replace(entry, summary=f"from {target}")


def _registered_variant(entry: TokenizerEntry, variant: str) -> TokenizerChoice:
    if variant in entry.variants:
        return TokenizerChoice(entry, variant)
    if entry.free_variant is None:
        raise unknown(
            f"variant of {entry.name}", variant, entry.variants, listing="medbench list tokenizers"
        )
    return TokenizerChoice(entry, variant, config={"budget_bits": _budget(entry, variant)})


def _budget(entry: TokenizerEntry, variant: str) -> int:
    """Bits per image that a codec's free variant stands for."""
    if variant.isdecimal() and int(variant) > 0:
        return int(variant)
    try:
        choice = choose_tokenizer(variant)
    except UsageError as error:
        message = f"{entry.name}@{variant}: expected {entry.free_variant}. {error}"
        raise UsageError(message) from error
    declared = choice.declared
    if declared is None or declared.bits_per_image is None:
        message = f"{entry.name}@{variant}: {choice.full_name} declares no bits per image"
        raise UsageError(message)
    return int(declared.bits_per_image)


def weights_path(choice: TokenizerChoice) -> Path | None:
    """Where the weights of a choice lie; None where it has none.

    Raises:
        MissingPrerequisite: they are declared and not on this machine.
    """
    if choice.weights is not None:
        return choice.weights
    source = choice.declared.weights if choice.declared else None
    if source is None:
        return None
    from .locate import locate

    return locate(source, tokenizer=choice.full_name)


def build_tokenizer(choice: TokenizerChoice, *, device: str = "cpu") -> Tokenizer:
    """Build what was chosen, with its weights, on `device`.

    Raises:
        UsageError: another's code failed, or gave something else than a tokenizer.
    """
    config = choice.config
    if config is None and choice.declared is not None:
        config = choice.declared.config
    entry, weights = choice.entry, weights_path(choice)
    factory = load_target(entry.target)
    with foreign_code(entry.origin, f"building {choice.full_name} from {entry.target!r}"):
        found = factory(variant=choice.variant, config=config, weights=weights, device=device)
    if not hasattr(found, "info"):
        message = (
            f"{choice.full_name}: {entry.target!r} gives a {type(found).__name__} without `info`, "
            "which is no tokenizer"
        )
        raise UsageError(message)
    return found


def load_tokenizer(
    name: str,
    *,
    config: Mapping[str, Any] | str | Path | None = None,
    weights: Mapping[str, Tensor] | str | Path | None = None,
    device: str = "cpu",
) -> Tokenizer:
    """Build a tokenizer by its registered name.

    Args:
        name: `name`, `name@variant`, `family:ARGUMENT` or `package.module:factory`.
        config: a mapping (or the path of a JSON file) in the upstream constructor's own terms.
        weights: a path, or a state dict in the upstream checkpoint's own keys.
        device: torch device.

    Raises:
        UsageError: unknown name, or a configuration or checkpoint that does not fit.
        MissingPrerequisite: the variant's weights are not on this machine.
    """
    if isinstance(config, str | Path):
        config = read_config(Path(config))
    if weights is None and config is None:
        return build_tokenizer(choose_tokenizer(name), device=device)
    if isinstance(weights, Mapping):
        choice = choose_tokenizer(name)
        if config is None and "@" in name and choice.declared is not None:
            config = choice.declared.config
        factory = load_target(choice.entry.target)
        return factory(variant="custom", config=config, weights=weights, device=device)
    path = Path(weights) if weights is not None else None
    return build_tokenizer(choose_tokenizer(name, config=config, weights=path), device=device)

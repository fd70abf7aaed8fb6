"""Names to things: tokenizers, tasks and datasets, resolved on use.

Built-in names come from the folders' catalogues, third-party names from the entry-point groups
`medbench.tokenizers`, `medbench.tasks` and `medbench.datasets`, and `package.module:factory`
names code directly. Nothing heavy is imported before a thing is used.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .entries import TokenizerEntry, Variant
from .errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor

    from .datasets.dataset import Dataset
    from .protocol import Tokenizer
    from .task import Task

_TOKENIZER_CATALOGUES = ("medbench.tokenizers.catalogue", "medbench.baselines.catalogue")
_TASK_CATALOGUE = "medbench.tasks.catalogue"
_DATASET_CATALOGUE = "medbench.harness.datasets.catalogue"


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


def load_target(target: str) -> Any:
    """Import `package.module:attribute`.

    Raises:
        UsageError: no such module or attribute.
    """
    module_name, _, attribute = target.partition(":")
    if not module_name or not attribute:
        message = f"{target!r} is not of the form 'package.module:attribute'"
        raise UsageError(message)
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and (module_name == error.name or module_name.startswith(error.name + ".")):
            message = f"{target!r}: there is no module {error.name!r} here. Is it installed?"
            raise UsageError(message) from error
        raise
    try:
        return getattr(module, attribute)
    except AttributeError as error:
        message = f"{target!r}: module {module_name!r} has no attribute {attribute!r}"
        raise UsageError(message) from error


def unknown(what: str, name: str, known: Iterable[str], *, listing: str) -> UsageError:
    """The error for a name that is not registered, with the nearest ones."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    hint = f" Did you mean: {', '.join(near)}?" if near else ""
    return UsageError(f"unknown {what} {name!r}.{hint} All: {listing}")


@cache
def tokenizer_entries() -> dict[str, TokenizerEntry]:
    """All registered tokenizers by name, built-in ones first."""
    entries = [e for path in _TOKENIZER_CATALOGUES for e in importlib.import_module(path).ENTRIES]
    entries += [_third_party_tokenizer(name, *rest) for name, *rest in _plugins("tokenizers")]
    return _by_name("tokenizer", entries)


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


def _plugins(group: str) -> list[tuple[str, str, str]]:
    """(name, target, distribution) of the entry points of one group."""
    return sorted(
        (point.name, point.value, point.dist.name if point.dist else "unknown")
        for point in entry_points(group=f"medbench.{group}")
    )


def _by_name(what: str, entries: Iterable[Any]) -> dict[str, Any]:
    table: dict[str, Any] = {}
    for entry in entries:
        if entry.name in table:
            message = (
                f"{what} {entry.name!r} is registered twice: by {table[entry.name].origin!r} "
                f"and by {entry.origin!r}. Uninstall one of them, or rename its entry point."
            )
            raise UsageError(message)
        table[entry.name] = entry
    return table


def choose_tokenizer(
    reference: str,
    *,
    config: Mapping[str, Any] | None = None,
    weights: Path | None = None,
    label: str | None = None,
) -> TokenizerChoice:
    """Resolve `name`, `name@variant` or `package.module:factory` without importing its code.

    With `weights` or `config` the variant is `label`, by default the first eight digits of the
    weights' (or else the configuration's) hash.
    """
    from .file_hashes import file_sha256
    from .files import hash_value

    if ":" in reference:
        target, _, variant = reference.partition("@")
        entry = _direct_entry(target)
    else:
        name, _, variant = reference.partition("@")
        entries = tokenizer_entries()
        aliases = {alias: e.name for e in entries.values() for alias in e.aliases}
        entry = entries.get(aliases.get(name, name))
        if entry is None:
            names = [*entries, *aliases]
            raise unknown("tokenizer", name, names, listing="medbench list tokenizers")
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
    """Build what was chosen, with its weights, on `device`."""
    config = choice.config
    if config is None and choice.declared is not None:
        config = choice.declared.config
    factory = load_target(choice.entry.target)
    return factory(
        variant=choice.variant, config=config, weights=weights_path(choice), device=device
    )


def load_tokenizer(
    name: str,
    *,
    config: Mapping[str, Any] | str | Path | None = None,
    weights: Mapping[str, Tensor] | str | Path | None = None,
    device: str = "cpu",
) -> Tokenizer:
    """Build a tokenizer by its registered name.

    Args:
        name: `name`, `name@variant` or `package.module:factory`.
        config: a mapping (or the path of a JSON file) in the upstream constructor's own terms.
        weights: a path, or a state dict in the upstream checkpoint's own keys.
        device: torch device.

    Raises:
        UsageError: unknown name, or a configuration or checkpoint that does not fit.
        MissingPrerequisite: the variant's weights are not on this machine.
    """
    from .inputs import read_config

    if isinstance(config, str | Path):
        config = read_config(Path(config))
    if weights is None and config is None:
        return build_tokenizer(choose_tokenizer(name), device=device)
    if isinstance(weights, Mapping):
        entry = choose_tokenizer(name).entry
        factory = load_target(entry.target)
        return factory(variant="custom", config=config, weights=weights, device=device)
    path = Path(weights) if weights is not None else None
    return build_tokenizer(choose_tokenizer(name, config=config, weights=path), device=device)


@dataclass(frozen=True, slots=True)
class Plugin:
    """A registered task or dataset."""

    name: str
    target: str
    summary: str = ""
    origin: str = "medbench"


@cache
def task_entries() -> dict[str, Plugin]:
    """All registered tasks by name."""
    own = importlib.import_module(_TASK_CATALOGUE).ENTRIES
    return _by_name("task", [*own, *(Plugin(n, t, "", o) for n, t, o in _plugins("tasks"))])


@cache
def dataset_entries() -> dict[str, Plugin]:
    """All registered datasets (and readers such as `folder:`) by name."""
    own = importlib.import_module(_DATASET_CATALOGUE).ENTRIES
    return _by_name("dataset", [*own, *(Plugin(n, t, "", o) for n, t, o in _plugins("datasets"))])


def load_task(name: str) -> Task:
    """The task of that name."""
    entries = task_entries()
    if name not in entries:
        raise unknown("task", name, entries, listing="medbench list tasks")
    return load_target(entries[name].target)


def load_dataset(reference: str, *, data_root: Path | None = None) -> Dataset:
    """The dataset of an id (`medsynth`) or a reader with its place (`folder:PATH`)."""
    entries = dataset_entries()
    name, _, rest = reference.partition(":")
    name, _, variant = name.partition("@")
    if name not in entries:
        known = [n + (":PATH" if n in {"folder", "manifest"} else "") for n in entries]
        raise unknown("dataset", reference, known, listing="medbench list datasets")
    factory = load_target(entries[name].target)
    return factory(reference, argument=rest, variant=variant, data_root=data_root)

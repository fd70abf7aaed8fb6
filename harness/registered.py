"""Variants that this machine's user trained and gave a name: `meditok@mine`.

Each is a folder below the weights root with its weights and `variant.json`. A published variant is
never redefined.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .documents import load_json
from .entries import PackagedFile, TokenizerEntry, Variant
from .errors import UsageError
from .file_hashes import file_sha256
from .files import write_json
from .locations import weights_root
from .passing import run_again_if_passing
from .sealed import checked, unchecked

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_VARIANT = "variant.json"
_WEIGHTS = "weights.safetensors"


@dataclass(frozen=True, slots=True)
class Registration:
    """What is kept of a variant.

    Attributes:
        config: of the network, in upstream's terms.
        weights: the file, which is copied.
        bits_per_image: nominal, at the tokenizer's own resolution.
        trained: the configuration of its training, for the record.
    """

    config: Mapping[str, Any]
    weights: Path
    bits_per_image: float | None
    trained: Mapping[str, Any]


def registered_variants(tokenizer: str) -> dict[str, Variant]:
    """The variants of a tokenizer that were registered on this machine.

    Raises:
        UsageError: an entry is damaged; the message names the folder.
    """
    found = {}
    for path in sorted(_folder(tokenizer).glob(f"*/{_VARIANT}")):
        try:
            kept = unchecked(load_json(path))
            found[path.parent.name] = Variant(
                summary="trained and registered on this machine",
                config=dict(kept["config"]),
                weights=PackagedFile(path.parent / _WEIGHTS, str(kept["sha256"]), "your own"),
                bits_per_image=kept["bits_per_image"],
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            run_again_if_passing(error, path)
            message = f"the registered variant {path} cannot be read ({error}); delete its folder"
            raise UsageError(message) from error
    return found


def check_name(entry: TokenizerEntry, name: str) -> None:
    """Refuse a name that cannot be registered.

    Raises:
        UsageError: it is malformed, published, or taken.
    """
    if not _NAME.fullmatch(name):
        message = (
            f"{name!r} cannot name a variant: small letters, digits, '.', '_' and '-', beginning "
            "with a letter or digit"
        )
        raise UsageError(message)
    if name in entry.variants and name not in registered_variants(entry.name):
        message = f"{entry.name}@{name} is published and stays what it is: choose another name"
        raise UsageError(message)
    if (_folder(entry.name) / name).exists():
        message = (
            f"{entry.name}@{name} is registered already, in {_folder(entry.name) / name}. Choose "
            "another name, or delete that folder."
        )
        raise UsageError(message)


def register_variant(entry: TokenizerEntry, name: str, registration: Registration) -> str:
    """Keep a copy of the weights under `tokenizer@name`; whole or not at all.

    Returns:
        The full name.

    Raises:
        UsageError: the name cannot be had, or the folder cannot be written.
    """
    check_name(entry, name)
    place = _folder(entry.name) / name
    making = place.with_name(f".{name}.partial")
    try:
        shutil.rmtree(making, ignore_errors=True)
        making.mkdir(parents=True)
        shutil.copyfile(registration.weights, making / _WEIGHTS)
        kept = {
            "config": dict(registration.config),
            "sha256": file_sha256(making / _WEIGHTS),
            "bits_per_image": registration.bits_per_image,
            "trained": dict(registration.trained),
        }
        write_json(making / _VARIANT, checked(kept))
        making.rename(place)
    except OSError as error:
        message = f"cannot register {entry.name}@{name} in {place}: {error}"
        raise UsageError(message) from error
    return f"{entry.name}@{name}"


def _folder(tokenizer: str) -> Path:
    return weights_root() / "registered" / tokenizer

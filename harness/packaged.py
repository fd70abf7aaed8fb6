"""Weights that ship inside the package: an index per folder, written when weights are published.

`index.json` names a file for each tokenizer; a file's name carries the start of its hash, so that
no other content can take its place unseen. Imports no torch.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .entries import PackagedFile, Variant

INDEX = "index.json"


def packaged_weights(folder: Path) -> dict[str, PackagedFile]:
    """The weights in a folder of the package, by tokenizer; none where it has no index."""
    path = folder / INDEX
    if not path.exists():
        return {}
    entries = json.loads(path.read_text(encoding="utf-8"))
    return {
        name: PackagedFile(path=folder / entry["file"], sha256=entry["sha256"])
        for name, entry in entries.items()
    }


def tiny_variants(
    name: str,
    config: Mapping[str, Any],
    *,
    weights: Mapping[str, PackagedFile],
    bits_per_image: float,
    parameters: str,
) -> dict[str, Variant]:
    """`tiny`, the variant of the controlled track, where its weights are published.

    Args:
        name: key of the weights.
        config: in upstream's terms.
        weights: from `packaged_weights`.
        bits_per_image: nominal.
        parameters: their number, in words.
    """
    if name not in weights:
        return {}
    return {
        "tiny": Variant(
            summary=f"{parameters} parameters, controlled track, ships with the package",
            config=config,
            weights=weights[name],
            bits_per_image=bits_per_image,
        )
    }

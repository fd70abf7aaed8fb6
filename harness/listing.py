"""What is registered, as rows for `medbench list` and `medbench weights list`."""

from __future__ import annotations

from typing import Any

from .entries import Family, ManualFile, PackagedFile, TokenizerEntry, Variant, Weights
from .locate import present
from .registry import dataset_entries, task_entries
from .tokenizer_registry import family_entries, tokenizer_entries


def listing(what: str | None = None) -> dict[str, Any]:
    """All registered names of one kind, or of every kind, JSON-able."""
    made = {
        "tokenizers": lambda: [_tokenizer(entry) for entry in tokenizer_entries().values()],
        "families": lambda: [_family(family) for family in family_entries().values()],
        "tasks": lambda: [_plugin(entry) for entry in task_entries().values()],
        "datasets": lambda: [_plugin(entry) for entry in dataset_entries().values()],
    }
    return {kind: make() for kind, make in made.items() if what in (None, kind)}


def _family(family: Family) -> dict[str, Any]:
    return {
        "name": f"{family.prefix}:…",
        "summary": family.summary,
        "kind": family.kind,
        "origin": "medbench",
    }


def _plugin(entry: Any) -> dict[str, Any]:
    return {"name": entry.name, "summary": entry.summary, "origin": entry.origin}


def _tokenizer(entry: TokenizerEntry) -> dict[str, Any]:
    return {
        "name": entry.name,
        "kind": entry.kind,
        "summary": entry.summary,
        "default": f"{entry.name}@{entry.default_variant}",
        "aliases": list(entry.aliases),
        "origin": entry.origin,
        "free_variant": entry.free_variant,
        "variants": [
            {
                "name": f"{entry.name}@{name}",
                "summary": variant.summary,
                "bits_per_image": variant.bits_per_image,
                "state": weights_state(variant),
            }
            for name, variant in entry.variants.items()
        ],
    }


def weights_state(variant: Variant) -> str:
    """`ready` or `weights missing`."""
    return "ready" if variant.weights is None or present(variant.weights) else "weights missing"


def listing_text(found: dict[str, Any]) -> str:
    """The listing for people."""
    from tabulate import tabulate

    parts = []
    for kind, entries in found.items():
        if kind == "tokenizers":
            rows = [row for entry in entries for row in _variant_rows(entry)]
            headers = ["tokenizer", "kind", "bits/image", "state", "what"]
        else:
            rows = [[entry["name"], entry["summary"]] for entry in entries]
            headers = ["family" if kind == "families" else kind.removesuffix("s"), "what"]
        parts.append(tabulate(rows, headers=headers, tablefmt="simple"))
    return "\n\n".join(parts)


def _variant_rows(entry: dict[str, Any]) -> list[list[str]]:
    rows = []
    for variant in entry["variants"]:
        default = " (default)" if variant["name"] == entry["default"] else ""
        bits = variant["bits_per_image"]
        rows.append(
            [
                variant["name"] + default,
                entry["kind"],
                "" if bits is None else f"{bits:.0f}",
                variant["state"],
                variant["summary"],
            ]
        )
    if entry["free_variant"]:
        name = f"{entry['name']}@…"
        rows.append([name, entry["kind"], "", "ready", entry["free_variant"]])
    return rows


def weights_rows() -> list[dict[str, Any]]:
    """Every variant that has weights: source, licence, size and state."""
    rows = []
    for entry in tokenizer_entries().values():
        for name, variant in entry.variants.items():
            if variant.weights is None:
                continue
            rows.append(
                {
                    "tokenizer": f"{entry.name}@{name}",
                    **_source(variant.weights),
                    "state": weights_state(variant),
                }
            )
    return rows


def _source(weights: Weights) -> dict[str, Any]:
    if isinstance(weights, PackagedFile):
        size = weights.path.stat().st_size if weights.path.is_file() else None
        return {
            "source": "inside the package",
            "revision": None,
            "sha256": weights.sha256,
            "licence": weights.licence,
            "size_bytes": size,
        }
    if isinstance(weights, ManualFile):
        return {
            "source": f"by hand: {weights.place}",
            "revision": None,
            "sha256": None,
            "licence": weights.licence,
            "size_bytes": None,
        }
    return {
        "source": f"{weights.repository}/{weights.filename}",
        "revision": weights.revision,
        "sha256": weights.sha256,
        "licence": weights.licence,
        "size_bytes": weights.size_bytes,
    }


def weights_text(rows: list[dict[str, Any]]) -> str:
    """The weights table for people."""
    from tabulate import tabulate

    shown = [
        [
            row["tokenizer"],
            row["source"],
            row["licence"],
            f"{row['size_bytes'] / 1e6:.1f} MB" if row["size_bytes"] else "unknown",
            (row["sha256"] or "not pinned")[:12],
            row["state"],
        ]
        for row in rows
    ]
    headers = ["tokenizer", "source", "licence", "size", "sha256", "state"]
    return tabulate(shown, headers=headers, tablefmt="simple", disable_numparse=True)

"""The datasets and readers that come with medbench."""

from __future__ import annotations

from ..registry import Plugin

_HERE = "medbench.harness.datasets"

ENTRIES = (
    Plugin("medsynth", f"{_HERE}.synthetic:build", "procedural, eight modalities, embedded"),
    Plugin("sample", f"{_HERE}.sample:build", "real images inside installed packages, embedded"),
    Plugin("folder", f"{_HERE}.folder:build", "folder:PATH, one directory per modality"),
    Plugin("manifest", f"{_HERE}.manifest:build", "manifest:FILE.csv or .parquet"),
)

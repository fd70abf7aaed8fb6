"""The datasets and readers that come with medbench."""

from __future__ import annotations

from ..registry import Plugin
from .card import packaged_cards
from .medmnist_sets import MODALITY_OF

_HERE = "medbench.harness.datasets"

ENTRIES = (
    Plugin("medsynth", f"{_HERE}.synthetic:build", "procedural, eight modalities, embedded"),
    Plugin("sample", f"{_HERE}.sample:build", "real images inside installed packages, embedded"),
    Plugin("folder", f"{_HERE}.folder:build", "folder:PATH, one directory per modality"),
    Plugin("manifest", f"{_HERE}.manifest:build", "manifest:FILE.csv or .parquet"),
    Plugin("dicom", f"{_HERE}.dicom:build", "dicom:PATH, a DICOM file or a folder of them"),
    Plugin("nifti", f"{_HERE}.nifti:build", "nifti@MODALITY:PATH, slices of NIfTI volumes"),
    *(
        Plugin(name, f"{_HERE}.medmnist:build", f"MedMNIST, {modality}; {name}@28, 64, 128, 224")
        for name, modality in MODALITY_OF.items()
    ),
    *(
        Plugin(card.id, f"{_HERE}.placed:build", card.title)
        for card in packaged_cards().values()
        if card.reading is not None
    ),
)

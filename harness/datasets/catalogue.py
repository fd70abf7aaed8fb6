"""The datasets and readers that come with medbench."""

from __future__ import annotations

from ..registry import Plugin
from .card import packaged_card, packaged_cards
from .medmnist_sets import NAMES

_HERE = "medbench.harness.datasets"

_QUESTION_SETS = {"vqa-rad": "vqa_rad", "slake": "slake", "pubmedvision": "pubmedvision"}

ENTRIES = (
    Plugin("medsynth", f"{_HERE}.synthetic:build", "procedural, nine classes of images, embedded"),
    Plugin("sample", f"{_HERE}.sample:build", "real images inside installed packages, embedded"),
    Plugin(
        "folder",
        f"{_HERE}.folder:build",
        "folder:PATH, one directory per modality; folder@MODALITY:PATH",
    ),
    Plugin("manifest", f"{_HERE}.manifest:build", "manifest:FILE.csv or .parquet"),
    Plugin("jsonl", f"{_HERE}.jsonl:build", "jsonl:FILE, one JSON object an image"),
    Plugin("wds", f"{_HERE}.webdataset:build", "wds:PATTERN, WebDataset shards (.tar)"),
    Plugin("sa-med2d", f"{_HERE}.sa_med2d:build", packaged_card("sa-med2d").title),
    Plugin("dicom", f"{_HERE}.dicom:build", "dicom:PATH, a DICOM file or a folder of them"),
    Plugin("nifti", f"{_HERE}.nifti:build", "nifti@MODALITY:PATH, slices of NIfTI volumes"),
    Plugin("union", f"{_HERE}.union:build", "union:A,B: several sets as one, part by part"),
    Plugin("npz", f"{_HERE}.npz:build", "npz@MODALITY:FILE, any file in MedMNIST's layout"),
    *(
        Plugin(name, f"{_HERE}.{module}:build", packaged_card(name).title)
        for name, module in _QUESTION_SETS.items()
    ),
    *(
        Plugin(
            name,
            f"{_HERE}.medmnist:build",
            f"MedMNIST, {packaged_card(name).modalities[0]}; {name}@28, 64, 128, 224",
        )
        for name in NAMES
    ),
    *(
        Plugin(card.id, f"{_HERE}.placed:build", card.title)
        for card in packaged_cards().values()
        if card.reading is not None
    ),
)

"""What medbench adds to the `medmnist` package's own table of the 2-D sets.

Free of imports, because listings read it.
"""

from __future__ import annotations

MODALITY_OF = {
    "pathmnist": "pathology",
    "chestmnist": "xray",
    "dermamnist": "dermoscopy",
    "octmnist": "fundus",
    "pneumoniamnist": "xray",
    "retinamnist": "fundus",
    "breastmnist": "ultrasound",
    "bloodmnist": "microscopy",
    "tissuemnist": "microscopy",
    "organamnist": "ct",
    "organcmnist": "ct",
    "organsmnist": "ct",
}
"""The modality under which each set is grouped."""

SIZES = (28, 64, 128, 224)
"""Sides in which the owners distribute each set, in pixels."""

PROBLEMS = {
    "dermamnist": (
        "HAM10000 shows some lesions several times, and the split is by image: near-duplicates "
        "of training images are among the test images (Abhishek et al., Sci. Data 12:196, 2025)."
    ),
    "octmnist": (
        "Optical coherence tomography has no class of its own in the vocabulary; grouped with "
        "the retina's photographs (fundus)."
    ),
    "organamnist": "Axial, coronal and sagittal sets are cut from the same CT volumes.",
    "organcmnist": "Axial, coronal and sagittal sets are cut from the same CT volumes.",
    "organsmnist": "Axial, coronal and sagittal sets are cut from the same CT volumes.",
}
"""Known problems of single sets."""

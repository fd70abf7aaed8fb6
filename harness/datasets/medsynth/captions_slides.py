"""Captions of tissue sections and blood smears, as a pathologist words them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .captions_words import Parts, across, graded, join, sentence, where
from .latent import pick

if TYPE_CHECKING:
    import numpy as np

    from .microscopy import MicroscopyState
    from .pathology import PathologyState


def describe_pathology(rng: np.random.Generator, state: PathologyState) -> Parts:
    """Architecture and strength of the stain."""
    architecture = {
        "solid": "solid epithelial sheets",
        "glandular": "glandular architecture",
        "stromal": "bands of epithelium in fibrous stroma",
        "loose": "loosely arranged tissue with clear spaces",
    }[state.architecture]
    study = pick(
        rng,
        (
            f"Haematoxylin and eosin stained section showing {architecture}",
            f"H&E histology, {architecture}",
            f"Histopathological section (H&E) with {architecture}",
        ),
    )
    stain = ""
    if state.haematoxylin > 1.4:
        stain = "Nuclei are strongly stained by haematoxylin."
    elif state.haematoxylin < 1.0:
        stain = "Nuclear staining is pale."
    return Parts(sentence(study), _tissue_finding(rng, state), stain)


def _tissue_finding(rng: np.random.Generator, state: PathologyState) -> str:
    finding = state.finding
    if not finding.present:
        return pick(
            rng,
            (
                "Normal tissue without tumour, inflammatory infiltrate or necrosis.",
                "No atypia, lymphocytic infiltrate or necrosis; normal cellularity.",
            ),
        )
    kinds = {
        "tumour": (
            "crowded tumour cells with enlarged, pleomorphic nuclei",
            "tumour focus of dense atypical cells",
        ),
        "lymphocytic_infiltrate": (
            "dense lymphocytic infiltrate of small dark nuclei",
            "lymphocytic infiltrate of small round cells",
        ),
        "necrosis": (
            "necrosis with loss of nuclei and eosinophilic debris",
            "area of necrosis with few, shrunken nuclei",
        ),
    }
    size = across(rng, 2 * finding.radius)
    kind = pick(rng, kinds[finding.label])
    return join(f"{kind} {where(rng, finding)}", size, graded(rng, finding))


def describe_microscopy(rng: np.random.Generator, state: MicroscopyState) -> Parts:
    """Leukocyte, shape of the red cells, platelets."""
    study = pick(
        rng,
        (
            "Wright-Giemsa stained peripheral blood smear at high magnification.",
            "Light microscopy of a stained blood film, oil immersion.",
            "Peripheral blood smear, Romanowsky stain, high-power field.",
        ),
    )
    white = ""
    if state.leukocyte != "blast":
        article = "An" if state.leukocyte == "eosinophil" else "A"
        white = pick(
            rng,
            (
                f"{article} {state.leukocyte} lies among the red cells.",
                f"{article} {state.leukocyte} is the leukocyte in view.",
            ),
        )
    crenated = "Some red cells are crenated." if state.crenated > 0.2 else ""
    platelets = "Several platelets are present." if state.platelets >= 5 else ""
    detail = f"{white} {crenated} {platelets}"
    return Parts(study, _blood_finding(rng, state), detail)


def _blood_finding(rng: np.random.Generator, state: MicroscopyState) -> str:
    finding = state.finding
    if not finding.present:
        return pick(
            rng,
            (
                "Normal film without blasts, parasites or sickle cells.",
                "Red cells of normal shape; no blast, malaria parasite or sickle cell.",
            ),
        )
    number = {"mild": "few", "moderate": "several", "severe": "many"}[finding.grade]
    kinds = {
        "blast": (
            "large blast with fine chromatin and nucleoli",
            "blast with a high ratio of nucleus to cytoplasm",
        ),
        "malaria": (
            f"malaria parasites inside {number} red cells",
            f"{number} red cells with malaria parasites",
        ),
        "sickle_cells": (
            f"{number} elongated, curved sickle cells",
            f"{number} sickle cells with pointed ends",
        ),
    }
    kind = pick(rng, kinds[finding.label])
    return join(f"{kind} {where(rng, finding)}", graded(rng, finding))

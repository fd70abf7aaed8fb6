"""Captions of dermoscopy, endoscopy and fundus photographs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .captions_words import Parts, across, graded, join, sentence, where
from .latent import pick

if TYPE_CHECKING:
    import numpy as np

    from .dermoscopy import DermoscopyState
    from .endoscopy import EndoscopyState
    from .fundus import FundusState

MILLIMETRE = 0.063
"""Distance of the dermoscopic ruler's ticks, fraction of the image side."""


def describe_dermoscopy(rng: np.random.Generator, state: DermoscopyState) -> Parts:
    """Skin tone, hairs, ruler and the lesion's structures."""
    dark = state.melanin > 0.6
    tone = "darkly pigmented" if dark else "lightly pigmented" if state.melanin < 0.2 else ""
    skin = f"{tone} skin".strip()
    study = pick(
        rng,
        (
            f"Dermoscopic image of {skin}",
            f"Dermatoscopic close-up of {skin}",
            f"Contact dermoscopy of {skin}",
        ),
    )
    hairs = ""
    if state.hairs >= 8:
        hairs = pick(rng, ("Terminal hairs cross the field.", "Hairs overlie the skin."))
    elif state.hairs == 0:
        hairs = "The field is free of hair."
    ruler = "A millimetre ruler is in view." if state.ruler else ""
    return Parts(sentence(study), _skin_finding(rng, state), hairs, ruler)


def _skin_finding(rng: np.random.Generator, state: DermoscopyState) -> str:
    finding = state.finding
    if not finding.present:
        return pick(
            rng,
            (
                "Normal skin surface without a circumscribed pigmented lesion.",
                "No melanocytic or keratotic lesion; normal skin markings.",
            ),
        )
    kinds = {
        "nevus": (
            "melanocytic nevus with an even border and regular pigment",
            "symmetric brown nevus fading towards its edge",
        ),
        "melanoma": (
            "asymmetric melanoma with an irregular border and a blue-white veil",
            "melanoma of uneven dark pigment and ragged outline",
        ),
        "keratosis": (
            "sharply bordered keratosis with a rough surface and plugs",
            "stuck-on keratosis with comedo-like openings",
        ),
    }
    size = across(rng, 2 * finding.radius)
    if state.ruler:
        size += f" (about {2 * finding.radius / MILLIMETRE:.0f} mm by the ruler)"
    kind = pick(rng, kinds[finding.label])
    return join(f"{kind} {where(rng, finding)}", size, graded(rng, finding))


def describe_endoscopy(rng: np.random.Generator, state: EndoscopyState) -> Parts:
    """View along the lumen or onto the wall, vessels, mucus and dye."""
    if state.view == "tube":
        view = pick(rng, ("looking along the lumen", "with the lumen and its folds in view"))
    else:
        view = pick(rng, ("facing the wall", "with a close view of the mucosal wall"))
    study = pick(
        rng,
        (
            f"Endoscopic image of the gastrointestinal mucosa, {view}",
            f"Gastrointestinal endoscopy, frame {view}",
            f"Video endoscopy of the gut {view}",
        ),
    )
    vessels = "The mucosal vessel pattern is visible." if state.vascularity > 0.6 else ""
    mucus = "Yellow mucus adheres to the wall." if state.mucus > 0.6 else ""
    dye = "Blue dye has been sprayed (chromoendoscopy)." if state.dye else ""
    return Parts(sentence(study), _gut_finding(rng, state), f"{vessels} {mucus}", dye)


def _gut_finding(rng: np.random.Generator, state: EndoscopyState) -> str:
    finding = state.finding
    if not finding.present:
        return pick(
            rng,
            (
                "Normal mucosa without polyp, ulcer or bleeding.",
                "Mucosa of normal appearance; no polyp, ulceration or blood.",
            ),
        )
    kinds = {
        "polyp": ("sessile polyp with a smooth surface", "broad-based protruding polyp"),
        "ulcer": ("ulcer with a yellowish base and a red rim", "slough-covered ulcer"),
        "bleeding": ("active bleeding with pooled red blood", "mucosal bleeding, fresh blood"),
    }
    size = across(rng, 2 * finding.radius)
    kind = pick(rng, kinds[finding.label])
    return join(f"{kind} {where(rng, finding)}", size, graded(rng, finding))


def describe_fundus(rng: np.random.Generator, state: FundusState) -> Parts:
    """Eye, optic disc and cup, choroidal pattern."""
    disc_side = "right" if state.disc_x > 0.5 else "left"
    study = pick(
        rng,
        (
            f"Colour fundus photograph of a {state.eye} eye",
            f"Retinal photograph, {state.eye} eye",
            f"Fundus image in colour of the {state.eye} eye",
        ),
    )
    cup = round(state.cup, 1)
    disc = pick(
        rng,
        (
            f"The optic disc lies towards the {disc_side} border, cup-to-disc ratio about {cup}.",
            f"Cup-to-disc ratio near {cup}, with the optic disc towards the {disc_side} border.",
        ),
    )
    choroid = "The choroidal pattern is tessellated." if state.tessellation > 0.5 else ""
    light = "Illumination falls off unevenly." if state.illumination_fall > 0.4 else ""
    return Parts(sentence(study), _retina_finding(rng, state), f"{disc} {choroid}", light)


def _retina_finding(rng: np.random.Generator, state: FundusState) -> str:
    finding = state.finding
    if not finding.present:
        return pick(
            rng,
            (
                "Normal retina without haemorrhage, exudate or drusen.",
                "No haemorrhage, exudates or drusen; normal vessels and macula.",
            ),
        )
    kinds = {
        "haemorrhage": ("dot and blot haemorrhages", "dark red intraretinal haemorrhages"),
        "exudate": ("yellow hard exudates", "bright hard exudates with sharp edges"),
        "drusen": ("soft drusen", "yellowish drusen with blurred edges"),
    }
    number = {"mild": "a few", "moderate": "multiple", "severe": "numerous"}[finding.grade]
    kind = pick(rng, kinds[finding.label])
    return join(f"{number} {kind} {where(rng, finding)}", graded(rng, finding))

"""Captions of CT, radiographs, MRI and ultrasound, as a radiologist words them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .captions_words import Parts, across, graded, join, sentence, where
from .latent import pick

if TYPE_CHECKING:
    import numpy as np

    from .ct import CtState
    from .mri_state import MriState
    from .ultrasound import UltrasoundState
    from .xray import XrayState


def describe_ct(rng: np.random.Generator, state: CtState) -> Parts:
    """Slice level, contrast phase, lungs and noise."""
    if state.level < 0.4:
        level = pick(rng, ("through the upper chest", "at the level of the trachea"))
    elif state.level < 0.65:
        level = pick(rng, ("at the level of the main bronchi", "just below the carina"))
    elif state.level < 0.8:
        level = pick(rng, ("at the level of the heart", "through the cardiac chambers"))
    else:
        level = pick(rng, ("through the lung bases", "at the level of the dome of the liver"))
    study = pick(
        rng,
        (
            f"Axial CT of the chest {level}",
            f"Axial computed tomography slice of the thorax {level}",
            f"Chest CT, axial plane, {level}",
        ),
    )
    phase = ""
    if state.enhancement == 0.0:
        phase = pick(rng, ("Acquired without intravenous contrast.", "Unenhanced scan."))
    elif state.enhancement > 100.0:
        phase = pick(rng, ("Contrast-enhanced scan with bright vessels.", "Contrast was given."))
    noise = "Image noise is marked, as at low dose." if state.noise > 80.0 else ""
    airspace = "Emphysematous lucencies are seen." if state.emphysema > 0.7 else ""
    return Parts(sentence(study), _ct_finding(rng, state), airspace, f"{phase} {noise}")


def _ct_finding(rng: np.random.Generator, state: CtState) -> str:
    finding = state.finding
    if finding.label == "nodule":
        kind = pick(rng, ("solid pulmonary nodule", "soft-tissue lung nodule"))
        size = across(rng, 2 * finding.radius)
        return join(f"{kind} {where(rng, finding)}", size, graded(rng, finding))
    if finding.label == "effusion":
        kind = pick(rng, ("dependent pleural effusion", "layering pleural effusion"))
        return join(f"{finding.grade} {kind} {where(rng, finding)}")
    if finding.label == "consolidation":
        kind = pick(rng, ("airspace consolidation", "parenchymal consolidation"))
        return join(f"{finding.grade} {kind} {where(rng, finding)}")
    return pick(
        rng,
        (
            "No nodule, consolidation or pleural effusion; normal lungs.",
            "Normal appearance without focal lung lesion or pleural fluid.",
        ),
    )


def describe_xray(rng: np.random.Generator, state: XrayState) -> Parts:
    """Lungs, heart, overlying lines and the field's border."""
    study = pick(
        rng,
        (
            "Frontal chest radiograph of an adult.",
            "Chest X-ray in frontal projection.",
            "Plain frontal radiograph of the thorax.",
        ),
    )
    wires = pick(
        rng, ("Lines or leads overlie the chest.", "Overlying monitoring wires are visible.")
    )
    clear = pick(rng, ("No lines or tubes.", "No overlying lines or leads are seen."))
    border = "A dark collimation border frames the film." if state.border > 0.025 else ""
    turned = "The patient is tilted in the frame." if abs(state.tilt) > 0.06 else ""
    lines = wires if state.wires else clear
    return Parts(study, _xray_finding(rng, state), lines, f"{border} {turned}")


def _xray_finding(rng: np.random.Generator, state: XrayState) -> str:
    finding = state.finding
    if finding.label == "cardiomegaly":
        # Its degree cannot be told: normal hearts differ as much in size.
        kind = pick(rng, ("cardiomegaly with a widened cardiac silhouette", "cardiomegaly"))
        return join(kind, "lungs clear of focal opacity, no pleural effusion")
    if finding.label == "effusion":
        kind = pick(rng, ("blunting the costophrenic angle", "with a meniscus at the lung base"))
        return join(f"{finding.grade} pleural effusion {where(rng, finding)}, {kind}")
    if finding.label == "consolidation":
        kind = pick(rng, ("airspace consolidation", "patchy lung consolidation"))
        return join(f"{finding.grade} {kind} {where(rng, finding)}")
    if finding.label == "nodule":
        size = across(rng, 2 * finding.radius * state.zoom)
        kind = pick(rng, ("rounded pulmonary nodule", "well-defined lung nodule"))
        return join(f"{kind} {where(rng, finding)}", size, graded(rng, finding))
    return pick(
        rng,
        (
            "Normal study: clear lungs, normal heart size, no pleural effusion.",
            "Heart and lungs are normal, without nodule, consolidation or effusion.",
        ),
    )


_CONTRASTS = {
    "t1": "T1-weighted",
    "t1_enhanced": "contrast-enhanced T1-weighted",
    "t2": "T2-weighted",
    "flair": "FLAIR",
    "pd": "proton-density-weighted",
}


def describe_mri(rng: np.random.Generator, state: MriState) -> Parts:
    """Plane, weighting, ventricles and sulci."""
    contrast = _CONTRASTS[state.contrast]
    study = pick(
        rng,
        (
            f"{state.orientation} {contrast} MRI of the brain",
            f"magnetic resonance image of the head, {state.orientation} plane, {contrast}",
            f"brain MRI, {contrast} sequence in the {state.orientation} plane",
        ),
    )
    shown = state.orientation == "coronal" or (state.orientation == "axial" and state.level > 0.3)
    ventricles = ""
    if shown and state.ventricles > 1.2:
        ventricles = "The lateral ventricles are prominent."
    elif shown and state.ventricles < 0.8:
        ventricles = "The lateral ventricles are small."
    sulci = "The cerebral sulci are widened." if state.atrophy > 0.6 else ""
    noise = "Grainy acquisition with low signal-to-noise ratio." if state.noise > 0.035 else ""
    detail = f"{ventricles} {sulci}"
    return Parts(sentence(study), _mri_finding(rng, state), detail, noise)


def _mri_finding(rng: np.random.Generator, state: MriState) -> str:
    finding = state.finding
    signal = "hyperintense" if state.contrast in ("t2", "flair", "pd") else "hypointense"
    if finding.label == "tumour":
        core = "with central necrosis" if finding.severity > 0.45 else "with surrounding oedema"
        kind = "enhancing" if state.contrast == "t1_enhanced" else signal
        size = across(rng, 2 * finding.radius)
        text = f"{kind} intracranial tumour {core} {where(rng, finding)}"
        return join(text, size, graded(rng, finding))
    if finding.label == "infarct":
        kind = pick(rng, ("infarct", "territorial infarct", "ischaemic infarct"))
        size = across(rng, 2 * finding.radius)
        return join(f"{finding.grade} {signal} {kind} {where(rng, finding)}", size)
    if finding.label == "white_matter_lesions":
        kind = pick(rng, ("scattered white matter lesions", "focal white matter lesions"))
        return join(f"{signal} {kind} {where(rng, finding)}", graded(rng, finding))
    return pick(
        rng,
        (
            "Normal brain without mass, infarct or white matter lesion.",
            "No focal signal abnormality; normal study of the brain.",
        ),
    )


def describe_ultrasound(rng: np.random.Generator, state: UltrasoundState) -> Parts:
    """Probe, tissue and callipers."""
    sector = state.probe == "convex"
    probe = "curved-array probe" if sector else "linear probe"
    shape = "sector-shaped field" if sector else "rectangular field"
    study = pick(
        rng,
        (
            f"B-mode ultrasound of the breast obtained with a {probe}",
            f"breast ultrasound, grey-scale image, {probe} with {shape}",
            f"sonogram of the breast, {shape} of a {probe}",
        ),
    )
    gland = ""
    if state.gland_echo > 0.5:
        gland = "The glandular layer is echogenic."
    elif state.gland_echo < -0.2:
        gland = "The glandular layer is of low echogenicity."
    marked = state.calipers and state.finding.present and not sector
    marks = "Callipers mark the lesion." if marked else ""
    return Parts(sentence(study), _ultrasound_finding(rng, state), gland, marks)


def _ultrasound_finding(rng: np.random.Generator, state: UltrasoundState) -> str:
    finding = state.finding
    if not finding.present:
        return pick(
            rng,
            (
                "Normal layered breast tissue without cyst or mass.",
                "No cystic or solid mass; normal fat, gland and muscle layers.",
            ),
        )
    kinds = {
        "cyst": ("anechoic cyst with posterior enhancement", "thin-walled anechoic cyst"),
        "benign_mass": (
            "circumscribed oval hypoechoic benign mass",
            "benign mass of oval shape, parallel to the skin",
        ),
        "malignant_mass": (
            "irregular hypoechoic malignant mass with posterior shadowing",
            "malignant mass with lobulated, indistinct margins",
        ),
    }
    size = across(rng, 2 * finding.radius) if state.probe == "linear" else ""
    kind = pick(rng, kinds[finding.label])
    return join(f"{kind} {where(rng, finding)}", size, graded(rng, finding))

"""Captions: long enough, varied, true of the state and of the mask, silent where they must be."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from medbench.harness.datasets.medsynth import CLASSES, MODALITIES, UNNAMED
from medbench.harness.datasets.medsynth.captions import SHORTEST, write_caption
from medbench.harness.datasets.medsynth.generate import GENERATORS

NAMES = {
    "ct": r"CT|computed tomography",
    "dermoscopy": r"[Dd]erm(at)?oscop",
    "endoscopy": r"[Ee]ndoscop",
    "fundus": r"[Ff]undus|[Rr]etinal",
    "microscopy": r"[Bb]lood (smear|film)",
    "mri": r"MRI|[Mm]agnetic resonance",
    "pathology": r"section|histology",
    "ultrasound": r"[Uu]ltrasound|[Ss]onogram",
    "xray": r"X-ray|radiograph",
}


def stem(label: str) -> str:
    """What a caption that names the class contains, singular or plural."""
    return label.replace("_", " ").removesuffix("s")


@pytest.mark.parametrize("modality", MODALITIES)
def test_captions_have_the_length_and_form_of_prose(modality, described):
    for told in described(modality, "test"):
        assert SHORTEST <= len(told.caption) <= 420
        assert told.caption[0].isupper()
        assert told.caption.endswith(".")
        assert not re.search(r"  |\.\.| [,.]|,,|_|\{|none\b", told.caption), told.caption


@pytest.mark.parametrize("modality", MODALITIES)
def test_captions_name_modality_class_and_grade(modality, described):
    for told in described(modality, "test"):
        caption = told.caption.lower()
        assert re.search(NAMES[modality], told.caption), told.caption
        assert stem(told.label) in caption
        if told.state["present"]:
            assert (told.state["grade"] in caption) == (told.label != "cardiomegaly")
            others = set(CLASSES[modality]) - {told.label, "normal"}
            caption = re.sub(r"no pleural effusion", "", caption)
            assert not [each for each in others if stem(each) in caption], told.caption
        else:
            assert not re.search(r"\bmild|\bmoderate\b|\bsevere\b|half|% of", caption)


@pytest.mark.parametrize("modality", MODALITIES)
def test_captions_name_the_side_of_the_image_that_holds_the_mask(modality, rendered):
    for sample in rendered(modality):
        sides = re.findall(
            r"(left|right) (?:half|side) of the image|to the (left|right) of the", sample.caption
        )
        named = {one or other for one, other in sides}
        assert len(named) <= 1
        for side in named:
            assert (np.nonzero(sample.mask)[1].mean() > 128) == (side == "right"), sample.caption


def test_sizes_in_captions_are_those_of_the_masks(rendered):
    ratios = []
    for modality in MODALITIES:
        for sample in rendered(modality):
            percent = re.search(r"(\d+)% of the image width", sample.caption)
            if percent:
                columns = np.nonzero(sample.mask.any(axis=0))[0]
                ratios.append(int(percent[1]) / 100 / ((np.ptp(columns) + 1) / 256))
    assert len(ratios) > 20
    assert min(ratios) > 0.6
    assert max(ratios) < 1.6
    assert np.median(ratios) == pytest.approx(1.0, abs=0.1)


def test_the_ruler_gives_millimetres_only_where_it_is_seen(described):
    for told in described("dermoscopy", "test"):
        millimetres = re.search(r"about (\d+) mm", told.caption)
        assert bool(millimetres) == (told.state["ruler"] and told.state["present"])
        if millimetres:
            # Ticks one millimetre apart are drawn 0.063 of the image side apart.
            assert int(millimetres[1]) == pytest.approx(2 * told.state["radius"] / 0.063, abs=0.51)


@pytest.mark.parametrize("modality", MODALITIES)
def test_the_same_state_is_worded_in_many_ways(modality):
    state = GENERATORS[modality].draw(np.random.default_rng(4))
    texts = {write_caption(modality, state, np.random.default_rng(seed)) for seed in range(60)}
    assert len(texts) >= 20
    repeated = write_caption(modality, state, np.random.default_rng(0))
    assert repeated == write_caption(modality, state, np.random.default_rng(0))


@pytest.mark.parametrize("modality", MODALITIES)
def test_captions_never_depend_on_the_unnamed_fields(modality):
    assert UNNAMED[modality]
    draw = GENERATORS[modality].draw
    for seed in range(30):
        state = draw(np.random.default_rng(seed))
        donor = draw(np.random.default_rng(seed + 1000))
        changed = replace(state, **{name: getattr(donor, name) for name in UNNAMED[modality]})
        assert changed != state
        same = [
            write_caption(modality, each, np.random.default_rng(7)) for each in (state, changed)
        ]
        assert same[0] == same[1]

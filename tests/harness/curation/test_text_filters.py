from __future__ import annotations

import pytest

from medbench.harness.curation.text_filters import reject_caption, reject_text
from medbench.harness.curation.thresholds import packaged_thresholds
from medbench.harness.curation.unit import Unit

RULE = packaged_thresholds().captions
CLINICAL = (
    "Axial image of the chest with a small nodule in the left lower lobe of a patient at 60 y"
)


@pytest.mark.parametrize(
    ("caption", "reason"),
    [
        (CLINICAL, None),
        (CLINICAL[:80], None),
        (CLINICAL[:79], "caption-short"),
        (None, "caption-missing"),
        ("  \n ", "caption-missing"),
        ("nodule" + " " * 100 + "left", "caption-short"),
        ("word " * 30, "caption-keywords"),
        ("sector factor ctrl massive scanty " * 4, "caption-keywords"),
        (
            "several LESIONS, seen once and again in a series that goes on and on and on and on",
            None,
        ),
    ],
)
def test_captions(caption, reason):
    rejection = reject_caption(caption, RULE)
    assert (rejection.reason if rejection else None) == reason


def unit(**facts):
    return Unit("s", "a.png", "image", ("/a.png",), "xray", **facts)


@pytest.mark.parametrize(
    ("primary", "secondary", "kept"),
    [
        (("Clinical Imaging",), ("ultrasound",), True),
        (("clinical imaging", "Plots and Charts"), ("X-ray radiography",), True),
        (("Clinical Imaging",), ("patient photo",), False),
        (("Plots and Charts",), ("ultrasound",), False),
        (("Clinical Imaging",), (), False),
        ((), (), False),
    ],
)
def test_biomedica_wants_the_primary_and_one_of_the_secondary_labels(
    primary, secondary, kept, settings
):
    rejection = reject_text(
        unit(primary_labels=primary, secondary_labels=secondary), settings(preset="biomedica")
    )
    assert (rejection is None) == kept
    assert kept or rejection.reason == "relevance"


@pytest.mark.parametrize(("tags", "kept"), [(("CT", "b"), True), (("c",), False), ((), False)])
def test_tags_of_the_caller(tags, kept, settings):
    rejection = reject_text(unit(tags=tags), settings(tags=("ct", "mri")))
    assert (rejection is None) == kept


def test_without_rules_texts_do_not_matter(settings):
    assert reject_text(unit(caption="short"), settings()) is None

from __future__ import annotations

import pytest
import yaml

from medbench.harness.curation.thresholds import FILE, packaged_thresholds, read_thresholds
from medbench.harness.errors import UsageError


def leaves(value):
    for one in value.values():
        if set(one) == {"value", "source"}:
            yield one
        else:
            yield from leaves(one)


def test_what_the_papers_print_is_used_as_printed():
    found = packaged_thresholds()
    printed = [one for one in leaves(yaml.safe_load(FILE.read_text())) if one["source"] == "paper"]
    assert len(printed) == 5
    assert found.meditok.slice_step.value == 5
    assert found.captions.minimum_characters.value == 80
    assert found.sa_med2d.aspect.value == 0.5
    assert found.sa_med2d.mask_fraction.value == 0.00153
    assert found.sa_med2d.slice_step.value == 1
    assert len(found.biomedica.secondary_labels.value) == 12


def test_the_mask_fraction_is_100_pixels_of_256_squared():
    assert packaged_thresholds().sa_med2d.mask_fraction.value == pytest.approx(
        100 / 256**2, rel=3e-3
    )


@pytest.mark.parametrize(
    ("section", "name", "value"),
    [
        ("meditok", "slice_step", {"value": 0, "source": "paper"}),
        ("meditok", "slice_step", {"value": 5, "source": "somewhere"}),
        ("meditok", "slice_step", {"value": 5, "source": "paper", "note": ""}),
        ("meditok", "unheard_of", {"value": 5, "source": "paper"}),
        ("sa_med2d", "aspect", {"value": 1.5, "source": "paper"}),
    ],
)
def test_a_wrong_file_is_refused_by_field(tmp_path, section, name, value):
    content = yaml.safe_load(FILE.read_text())
    content[section][name] = value
    path = tmp_path / "own.yaml"
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(UsageError, match=f"own.yaml.*\n{section}.{name}"):
        read_thresholds(path)

from __future__ import annotations

import re

import pytest

from medbench.harness.curation.names import flat, safe


@pytest.mark.parametrize("name", ["a/b.png", "x-1_2.nii.gz"])
def test_plain_names_stay(name):
    assert safe(name) == name


def test_names_that_must_change_stay_different_and_harmless():
    names = ["a b", "a_b", "a/b", "a--b", "a-b", "../a", "ä", "a:b", ".", "", "x" * 300]
    for change in (safe, flat):
        found = [change(name) for name in names]
        assert len(set(found)) == len(names)
        assert all(re.fullmatch(r"[A-Za-z0-9._/-]+", name) for name in found)
        assert not any(part in {"", ".", ".."} for name in found for part in name.split("/"))
    assert not any("--" in flat(name) or "/" in flat(name) for name in names)

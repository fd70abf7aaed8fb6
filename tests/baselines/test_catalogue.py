from __future__ import annotations

import subprocess
import sys

from medbench.baselines.catalogue import ENTRIES
from medbench.harness.registry import load_target


def test_ids_are_those_of_the_design():
    assert [entry.name for entry in ENTRIES][:7] == [
        "mean",
        "down8",
        "down16",
        "pixels",
        "jpeg",
        "webp",
        "avif",
    ]


def test_every_target_resolves():
    assert all(callable(load_target(entry.target)) for entry in ENTRIES)


def test_a_bound_has_one_variant_and_a_codec_a_free_one():
    for entry in ENTRIES:
        if entry.kind == "bound":
            assert list(entry.variants) == [entry.default_variant] == ["reference"]
            assert entry.variants["reference"].bits_per_image is None
        if entry.kind == "codec":
            assert entry.default_variant == "meditok"
            assert entry.free_variant


def test_reading_the_catalogue_imports_no_torch():
    code = "import sys, medbench.baselines.catalogue; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

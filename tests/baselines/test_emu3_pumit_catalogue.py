from __future__ import annotations

import subprocess
import sys

from medbench.baselines.emu3_pumit_catalogue import ENTRIES
from medbench.harness.registry import load_target


def test_ids_kinds_and_aliases_are_those_of_the_design():
    assert [(entry.name, entry.kind, entry.aliases) for entry in ENTRIES] == [
        ("emu3-vq", "discrete", ("emu3vq",)),
        ("pumit", "continuous", ()),
        ("pumit-hard", "discrete", ()),
    ]
    assert all(entry.default_variant in entry.variants for entry in ENTRIES)


def test_every_target_resolves():
    assert all(callable(load_target(entry.target)) for entry in ENTRIES)


def test_reading_the_catalogue_imports_no_torch():
    code = "import sys, medbench.baselines.emu3_pumit_catalogue; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

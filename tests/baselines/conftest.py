"""The golden fixtures of tests/tokenizers, for the baselines too."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

_PATH = Path(__file__).parents[1] / "tokenizers" / "conftest.py"
_spec = importlib.util.spec_from_file_location("golden_fixtures", _PATH)
assert _spec is not None
assert _spec.loader is not None
_module = importlib.util.module_from_spec(_spec)
sys.modules[_spec.name] = _module
_spec.loader.exec_module(_module)

golden = _module.golden
layout = _module.layout

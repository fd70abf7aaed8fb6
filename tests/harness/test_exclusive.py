from __future__ import annotations

import subprocess
import sys
import time

import pytest

from medbench.harness.errors import UsageError
from medbench.harness.exclusive import exclusive

HOLD = """
import sys, time
from pathlib import Path
from medbench.harness.exclusive import exclusive
with exclusive(Path(sys.argv[1]), "it"):
    print("held", flush=True)
    time.sleep(float(sys.argv[2]))
"""


def _holder(path, seconds):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path), str(seconds)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    return process


def test_the_second_waits_for_the_first(tmp_path):
    path = tmp_path / "deep" / "lock"
    with _holder(path, 1.0) as process:
        begun = time.monotonic()
        with exclusive(path, "it"):
            assert process.poll() is not None or time.monotonic() - begun > 0.5


def test_a_killed_holder_lets_the_next_one_in_at_once(tmp_path):
    path = tmp_path / "lock"
    with _holder(path, 60.0) as process:
        process.kill()
        with exclusive(path, "it"):
            pass


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot write"), exclusive(tmp_path / "file" / "x", "it"):
        pass

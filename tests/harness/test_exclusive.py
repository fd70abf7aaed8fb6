from __future__ import annotations

import subprocess
import sys
import time

import pytest

from medbench.harness.errors import UsageError
from medbench.harness.exclusive import exclusive

HOLD = """
import sys, time
from medbench.harness.exclusive import exclusive
with exclusive("it", "it"):
    print("held", flush=True)
    time.sleep(float(sys.argv[1]))
"""


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDBENCH_CACHE", str(tmp_path / "cache"))


def _holder(seconds):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(seconds)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    return process


def test_the_second_waits_for_the_first():
    with _holder(1.0) as process:
        begun = time.monotonic()
        with exclusive("it", "it"):
            assert process.poll() is not None or time.monotonic() - begun > 0.5


def test_another_name_is_another_lock():
    with _holder(60.0) as process:
        with exclusive("other", "other"):
            assert process.poll() is None
        process.kill()


def test_a_killed_holder_lets_the_next_one_in_at_once():
    with _holder(60.0) as process:
        process.kill()
        with exclusive("it", "it"):
            pass


def test_a_place_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MEDBENCH_CACHE", str(tmp_path / "file"))
    with pytest.raises(UsageError, match="cannot write it"), exclusive("it", "it"):
        pass

"""With every way to another machine walled up from outside, local work goes on.

The wall is not medbench's own: Python's audit events end the process at the first attempt to
resolve a name or to connect over IP, whatever library makes it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

WALLED = """
import os, sys

def wall(event, arguments):
    if event in ("socket.getaddrinfo", "socket.gethostbyname"):
        reached = arguments[0]
    elif event in ("socket.connect", "socket.sendto") and isinstance(arguments[1], tuple):
        reached = arguments[1]
    else:
        return
    os.write(2, f"NETWORK {event} {reached}".encode())
    os._exit(99)

sys.addaudithook(wall)
from medbench.__main__ import invoke
sys.exit(invoke(sys.argv[1:]))
"""


def walled(*arguments: str, data: Path, code: str = WALLED) -> subprocess.CompletedProcess[str]:
    # The fixture of all tests sets the hub's own switch; here medbench has to do without it.
    environment = {k: v for k, v in os.environ.items() if k != "HF_HUB_OFFLINE"}
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=data,
        env=environment | {"MEDBENCH_DATA": str(data)},
    )


@pytest.fixture
def data(tmp_path, image_folder) -> Path:
    """A data root with local images."""
    assert image_folder.parent == tmp_path
    return tmp_path


def test_the_wall_stands(data):
    code = WALLED.partition("from medbench")[0]
    code += "import urllib.request; urllib.request.urlopen('http://127.0.0.1:9')"
    result = walled(data=data, code=code)
    assert result.returncode == 99
    assert "NETWORK" in result.stderr


@pytest.mark.parametrize(
    ("command", "word"),
    [
        (["data", "list", "--offline"], "medsynth"),
        (["data", "list", "--json", "--offline"], '"medsynth"'),
        (["data", "verify", "--offline"], "no data set was found"),
        (["data", "verify", "sample", "--deep", "--offline"], "sample: ok"),
        (["cache"], "entries"),
        (["doctor"], "embedded"),
        (["list"], "meditok"),
    ],
)
def test_looking_needs_no_network(data, command, word):
    result = walled(*command, data=data)
    assert result.returncode == 0, result.stderr
    assert word in result.stdout


@pytest.mark.parametrize(
    ("tokenizer", "dataset"),
    [
        ("mean@reference", "medsynth"),
        ("meditok@tiny", "sample"),
        ("mean@reference", "folder:images"),
    ],
)
def test_run_on_embedded_and_local_images_needs_no_network(data, tokenizer, dataset):
    options = ["--task", "recon", "--dataset", dataset, "--limit", "1", "--offline"]
    result = walled("run", "--tokenizer", tokenizer, *options, data=data)
    assert result.returncode == 0, result.stderr
    assert tokenizer in result.stdout


def test_fetch_offline_refuses_and_says_what_to_bring(data):
    result = walled("data", "fetch", "pathmnist@28", "--yes", "--offline", data=data)
    assert result.returncode == 3
    for text in ("--offline was given", "https://zenodo.org/", str(data / "medmnist")):
        assert text in result.stderr
    assert not (data / "medmnist").exists()


def test_fetch_without_the_option_does_reach_out(data):
    """The refusal above is the option's work, not that of a command which never connects."""
    result = walled("data", "fetch", "pathmnist@28", "--yes", data=data)
    assert result.returncode == 99
    assert "NETWORK" in result.stderr


def test_a_gated_set_is_explained_without_network(data):
    result = walled("data", "fetch", "drive", "--offline", data=data)
    assert result.returncode == 3
    assert "1. Join the challenge" in result.stdout

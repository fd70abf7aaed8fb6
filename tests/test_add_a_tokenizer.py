"""The page docs/add-a-tokenizer.md, carried out as a reader would."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import medbench.testing

PAGE = Path(medbench.testing.__file__).parent / "docs" / "add-a-tokenizer.md"


def _blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


@pytest.fixture
def module(tmp_path):
    (tmp_path / "posterise.py").write_text(_blocks("python")[0], encoding="utf-8")
    return tmp_path


def test_every_command_of_the_page_works(module, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(module))
    commands = [line for block in _blocks("sh") for line in block.splitlines() if line]
    assert len(commands) == 3
    for command in commands:
        words = shlex.split(command)
        assert words[0] == "medbench"
        words = ["1" if word == "16" else word for word in words[1:]]  # fewer images, same path
        done = subprocess.run(
            [sys.executable, "-m", "medbench", *words],
            cwd=module,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, (command, done.stderr)
    assert "posterise.build@" in (module / "LEADERBOARD.md").read_text(encoding="utf-8")


def test_the_tests_of_the_page_pass(module):
    code = "\n".join(_blocks("python"))
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=module, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_the_tokenizer_of_the_page_has_at_most_twenty_lines_of_substance():
    lines = [line.strip() for line in _blocks("python")[0].splitlines()]
    code = [line for line in lines if line and not line.startswith(('"""', "import", "from"))]
    assert len(code) <= 20


def test_the_entry_point_names_the_pages_factory():
    table = tomllib.loads(_blocks("toml")[0])
    group = table["project"]["entry-points"]["medbench.tokenizers"]
    assert group == {"posterise": "posterise:build"}

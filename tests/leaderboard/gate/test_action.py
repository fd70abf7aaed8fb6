"""The composite action, the project's own gate and the light install fit the code."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import yaml

from medbench.__main__ import invoke
from medbench.harness.record_files import read_results
from medbench.leaderboard.gate.policy import read_policy

ROOT = Path(__file__).parent.parent.parent.parent


def test_the_action_uses_options_and_inputs_that_exist(capsys):
    text = (ROOT / "action.yml").read_text()
    action = yaml.safe_load(text)
    assert invoke(["gate", "--help"]) == 0
    known = set(re.findall(r"--[a-z-]+", capsys.readouterr().out))
    used = set(re.findall(r"--[a-z-]+", action["runs"]["steps"][-1]["run"]))
    assert used <= known
    named = set(re.findall(r"inputs\.([a-z]+)", text))
    assert named == set(action["inputs"])
    requirements = re.search(r"docs/[a-z-]+\.txt", text).group()
    assert (ROOT / requirements).is_file()


def test_the_light_install_asks_for_what_the_package_asks_for():
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    light = [
        line
        for line in (ROOT / "docs/gate-requirements.txt").read_text().splitlines()
        if not line.startswith("#")
    ]
    assert set(light) <= set(wanted)


def test_the_projects_own_baseline_loads_and_is_what_the_workflow_measures():
    found = read_results(ROOT / ".github/baseline")
    assert not found.problems
    (stored,) = found.stored
    workflow = (ROOT / ".github/workflows/gate.yml").read_text()
    command = stored.record.command.partition(" --output")[0]
    assert command in workflow
    assert stored.rows_path is not None
    columns = read_policy(ROOT / ".github/gate.yaml").columns()
    assert all(column.overall(stored.record).value is not None for column in columns)

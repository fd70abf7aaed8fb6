"""What the submissions workflow runs does what it says."""

from __future__ import annotations

from pathlib import Path

import yaml

from medbench.__main__ import invoke

WORKFLOW = Path(__file__).parent.parent.parent / ".github/workflows/submissions.yml"


def test_its_commands_are_those_of_the_command_line(results, tmp_path, capsys):
    steps = yaml.safe_load(WORKFLOW.read_text())["jobs"]["check"]["steps"]
    commands = "\n".join(step.get("run", "") for step in steps)
    assert "medbench submit check results --previous" in commands
    assert "medbench leaderboard --results results --output rows.md" in commands
    empty = tmp_path / "before" / "results"
    empty.mkdir(parents=True)
    assert invoke(["submit", "check", str(results), "--previous", str(empty)]) == 0
    rows = tmp_path / "rows.md"
    assert invoke(["leaderboard", "--results", str(results), "--output", str(rows)]) == 0
    assert "down16@reference" in rows.read_text(encoding="utf-8")

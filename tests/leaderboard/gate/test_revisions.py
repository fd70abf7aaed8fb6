"""Baselines as they were at a git revision."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from medbench.__main__ import invoke
from medbench.harness.errors import UsageError
from medbench.leaderboard.revisions import records_of

BASELINE = Path(__file__).parent.parent.parent.parent / ".github" / "baseline"
pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="needs git")


def git(folder, *arguments):
    names = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    subprocess.run(["git", "-C", folder, *names, *arguments], check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A repository whose tag v0.1 holds the committed baseline, and whose branch holds none."""
    git(tmp_path, "init", "--quiet")
    shutil.copytree(BASELINE, tmp_path / "results")
    (tmp_path / "results" / "link.json").symlink_to("/etc/passwd")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "-m", "baseline")
    git(tmp_path, "tag", "v0.1")
    git(tmp_path, "rm", "--quiet", "-r", "results")
    git(tmp_path, "commit", "--quiet", "-m", "without")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("reference", ["v0.1:results", "v0.1", "HEAD~1:results", "v0.1:results/"])
def test_records_of_a_revision_are_those_that_were_committed(repository, reference):
    with records_of(reference) as found:
        (stored,) = found
        rows = stored.rows()
        assert stored.path.read_bytes() == next(BASELINE.rglob("*.json")).read_bytes()
        assert rows is not None
        assert len(rows) == stored.record.dataset.n
    assert not stored.path.exists()


def test_a_path_below_the_root_is_meant_also_in_a_subfolder(repository, monkeypatch):
    (repository / "inner").mkdir()
    monkeypatch.chdir(repository / "inner")
    with records_of("v0.1:results/recon") as found:
        assert len(found) == 1


def test_a_path_on_disk_comes_first(repository):
    shutil.copytree(BASELINE, repository / "v0.1")
    with records_of("v0.1") as found:
        assert Path("v0.1") in found[0].path.parents


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("v9:results", "neither a path nor a git revision"),
        ("nowhere", "neither a path nor a git revision"),
        ("--help", "neither a path nor a git revision"),
        ("v0.1:elsewhere", "has no elsewhere"),
        ("HEAD:results", "has no results"),
        ("v0.1:../results", "has no"),
    ],
)
def test_what_is_not_there_is_refused_by_name(repository, reference, message):
    with pytest.raises(UsageError, match=message), records_of(reference):
        pass


def test_the_gate_takes_a_tag_as_baseline_and_release(repository, capsys):
    options = ["--baseline", "v0.1:results", "--release", "v0.1", "--results", str(BASELINE)]
    assert invoke(["gate", *options]) == 0
    assert "against the release" in capsys.readouterr().out

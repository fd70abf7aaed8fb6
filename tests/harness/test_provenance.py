from __future__ import annotations

import subprocess
import sys

import pytest

from medbench.harness import provenance
from medbench.harness.provenance import command_line, environment, git_state, utc_now
from medbench.harness.record import Environment


def test_a_folder_outside_git_gives_a_note_and_no_error(tmp_path):
    commit, dirty, note = git_state(tmp_path)
    assert (commit, dirty) == (None, None)
    assert note is not None
    assert "git commit unknown" in note


def test_a_machine_without_git_gives_a_note_and_no_error(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git_state(tmp_path)[2] == "git commit unknown: FileNotFoundError"


def test_a_checkout_gives_its_commit_and_whether_it_is_dirty(tmp_path):
    def git(*arguments):
        identity = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
        subprocess.run(["git", "-C", str(tmp_path), *identity, *arguments], check=True)

    git("init", "-q")
    (tmp_path / "a").write_text("1")
    git("add", "a")
    git("commit", "-qm", "one")
    commit, dirty, note = git_state(tmp_path)
    assert len(commit or "") == 40
    assert (dirty, note) == (False, None)
    (tmp_path / "a").write_text("2")
    assert git_state(tmp_path)[1] is True


def test_a_hanging_git_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(provenance, "_GIT_SECONDS", 0.001)
    assert git_state(tmp_path)[2] is not None


def test_the_environment_fits_the_record():
    found = Environment(**environment(device="cpu", precision="float32", code_version="x"))
    assert found.torch
    assert found.threads
    assert found.packages["numpy"]


@pytest.mark.parametrize(
    "secret",
    ["https://user:pa55word@host/x", "https://host/x?token=pa55word", "hf_pa55wordpa55word"],
)
def test_commands_are_kept_without_credentials(monkeypatch, secret):
    monkeypatch.setattr(sys, "argv", ["/bin/medbench", "run", "--dataset", secret, "--x", "a b"])
    line = command_line()
    assert "pa55word" not in line
    assert line.startswith("medbench run --dataset ")
    assert line.endswith("--x 'a b'")


def test_time_is_utc():
    assert utc_now().endswith("+00:00")

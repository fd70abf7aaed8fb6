"""What one of several ranks does, on its own; `test_torchrun.py` starts real ones."""

from __future__ import annotations

import contextlib

import pytest

from medbench.harness import ranks
from medbench.harness.cell import CellJob
from medbench.harness.errors import CellFailed, ExitCode
from medbench.harness.request import Request
from medbench.harness.runner import execute


@pytest.fixture
def second(monkeypatch):
    """This process is the second of two ranks; what they exchange is what it gives, twice."""
    monkeypatch.setattr(ranks, "count", lambda: 2)
    monkeypatch.setattr(ranks, "own", lambda: 1)
    monkeypatch.setattr(ranks, "_exchange", lambda part: [part, part])


def test_a_lost_rank_ends_the_run_and_no_further_cell_is_begun(image_folder, monkeypatch, tmp_path):
    begun = []

    def lose(job):
        begun.append(job.choice.full_name)
        raise ranks.RankLost("gone")

    monkeypatch.setattr(CellJob, "result", lose)
    request = Request(["mean", "down8"], dataset=f"folder:{image_folder}", output=tmp_path)
    with pytest.raises(ranks.RankLost):
        execute(request)
    assert begun == ["mean@reference"]


def test_a_cell_that_failed_does_not_end_the_run(image_folder, monkeypatch, tmp_path):
    def fail(job):
        raise CellFailed("broken")

    monkeypatch.setattr(CellJob, "result", fail)
    request = Request(["mean", "down8"], dataset=f"folder:{image_folder}", output=tmp_path)
    assert [str(cell.error) for cell in execute(request).cells] == ["broken", "broken"]


def test_who_misses_a_rank_does_not_ask_the_others_again(second, monkeypatch):
    def lose():
        raise ranks.RankLost("gone")

    monkeypatch.setattr(ranks, "_exchange", lambda _: pytest.fail("nobody is there"))
    with pytest.raises(ranks.RankLost, match="gone"):
        ranks.together(lose)


def test_a_rank_that_is_told_to_end_says_why_and_that_the_command_goes_on(capsys):
    with pytest.raises(SystemExit) as end:
        ranks._end()
    assert end.value.code == ExitCode.CELLS_FAILED
    said = capsys.readouterr().err
    assert "another process of this run is lost" in said
    assert "the same command goes on" in said


@pytest.mark.parametrize("own", [0, 1])
def test_the_first_of_several_ranks_holds_the_lock_for_all(own, second, monkeypatch):
    held = []

    @contextlib.contextmanager
    def lock(name, what):
        held.append(name)
        yield True
        held.remove(name)

    monkeypatch.setattr(ranks, "own", lambda: own)
    monkeypatch.setattr(ranks, "exclusive", lock)
    monkeypatch.setattr(ranks, "_exchange", lambda part: [[True] if part is not None else None] * 2)
    with ranks.alone("name", "a thing"):
        assert held == (["name"] if own == 0 else [])
    assert not held

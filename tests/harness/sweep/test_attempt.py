"""Cells as processes: what is tried again, what is not, and how they are stopped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from medbench.__main__ import invoke
from medbench.harness.errors import ExitCode
from medbench.harness.sweep.attempt import Attempt, RunTerms, attempt
from medbench.harness.sweep.cells import SweepCell
from medbench.harness.sweep.engines import LocalEngine
from medbench.harness.sweep.spec import SweepSpec, TaskTerms, TokenizerTerms
from medbench.harness.sweep.state import SweepState


@pytest.fixture
def ending(monkeypatch) -> Callable[[str], SweepCell]:
    """A cell whose process does what the code says."""

    def make(code: str) -> SweepCell:
        command = [sys.executable, "-c", f"import os, signal, sys; {code}"]
        monkeypatch.setattr(SweepCell, "command", lambda *_, **__: command)
        return SweepCell("mean", "recon", "sample")

    return make


def _try(cell: SweepCell, output: Path, retries: int = 1) -> Attempt:
    log = SweepState(output).log(cell.key)
    return attempt(cell, RunTerms(output, retries=retries), log=log, device="cpu")


def test_a_cell_that_cannot_be_met_is_refused_once_with_the_reason(tmp_path):
    cell = SweepCell("mean@reference", "recon", "folder:nowhere")
    found = _try(cell, tmp_path)
    assert (found.verdict, found.tries) == ("refused", 1)
    assert "nowhere" in found.reason
    assert "nowhere" in SweepState(tmp_path).log(cell.key).read_text()


@pytest.mark.parametrize(
    ("end", "verdict", "tries"),
    [
        ("sys.exit(1)", "failed", 2),
        ("sys.exit(4)", "failed", 2),
        ("sys.exit(75)", "failed", 2),
        ("os.kill(os.getpid(), 9)", "failed", 2),
        ("os.kill(os.getpid(), 15)", "failed", 2),
        ("sys.exit(2)", "refused", 1),
        ("sys.exit(3)", "refused", 1),
        ("sys.exit(130)", "stopped", 1),
        ("signal.signal(2, signal.SIG_DFL); os.kill(os.getpid(), 2)", "stopped", 1),
    ],
)
def test_what_another_try_may_mend_is_tried_again(tmp_path, ending, end, verdict, tries):
    found = _try(ending(end), tmp_path)
    assert (found.verdict, found.tries) == (verdict, tries)


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        ("sys.exit(4)", "exit code 4"),
        ("sys.exit('told')", "told"),
        ("os.kill(os.getpid(), 15)", "ended by SIGTERM"),
        ("os.write(2, b'step 3'); os.kill(os.getpid(), 9)", "ended by SIGKILL after: step 3"),
        ("os.kill(os.getpid(), 40)", "ended by signal 40"),
    ],
)
def test_the_reason_says_how_a_cell_ended(tmp_path, ending, end, reason):
    assert _try(ending(end), tmp_path).reason == reason


def test_a_command_that_cannot_be_started_fails_with_the_reason(tmp_path, monkeypatch):
    monkeypatch.setattr(SweepCell, "command", lambda *_, **__: [str(tmp_path / "gone")])
    found = _try(SweepCell("mean", "recon", "sample"), tmp_path)
    assert (found.verdict, found.tries) == ("failed", 2)
    assert found.reason.startswith("cannot start: ")


def test_an_output_that_is_a_file_is_refused(spec_file, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    code = invoke(["sweep", str(spec_file), "--output", str(tmp_path / "file")])
    assert code == ExitCode.USAGE
    assert "choose another place (--output)" in capsys.readouterr().err


def test_a_crash_takes_nothing_else_along(tmp_path, monkeypatch):
    def command(cell, **_) -> list[str]:
        end = "os._exit(9)" if cell.tokenizer == "crash" else "os._exit(2)"
        return [sys.executable, "-c", f"import os; {end}"]

    monkeypatch.setattr(SweepCell, "command", command)
    cells = [SweepCell(name, "recon", "sample") for name in ("crash", "other")]
    spec = SweepSpec((TokenizerTerms("mean"),), (TaskTerms("recon"),), retries=1)
    ends = LocalEngine(spec, tmp_path / "r").run(cells, lambda _: None)
    assert [(each.verdict, each.tries) for each in ends] == [("failed", 2), ("refused", 1)]


def test_a_run_that_goes_on_where_it_was_cut_off_says_so_by_its_exit_code(factory, tmp_path):
    cell = factory(
        "from medbench.harness.training.loop import Interrupted\n"
        "raise Interrupted('stopped after step 3')"
    )
    code = invoke([*cell.arguments(), "--output", str(tmp_path / "r"), "--device", "cpu"])
    assert code == ExitCode.RUN_AGAIN


def test_a_tokenizer_that_prints_leaves_the_json_alone(factory, tmp_path, capfd):
    cell = factory(
        "import ctypes, os, subprocess\n"
        "from medbench.harness.tokenizer_registry import load_tokenizer\n"
        "print('python')\n"
        "os.write(1, b'descriptor')\n"
        "subprocess.run(['echo', 'child'])\n"
        "ctypes.CDLL(None).printf(b'buffered')\n"
        "return load_tokenizer('mean')"
    )
    assert invoke([*cell.arguments(), "--output", str(tmp_path / "r"), "--json"]) == 0
    told = capfd.readouterr()
    (record,) = json.loads(told.out)
    assert record["status"] == "ok"
    assert all(word in told.err for word in ("python", "descriptor", "child", "buffered"))


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_ends_the_cells_that_run_and_starts_none(tmp_path, sent):
    note, spec = tmp_path / "started", tmp_path / "s.yaml"
    spec.write_text("tokenizers: [mean, down16, down8]\ntasks: [recon]\nretries: 3\nat_a_time: 2\n")
    cell = (
        f"import os, time; print(os.getpid(), file=open({str(note)!r}, 'a'), flush=True); "
        "time.sleep(600)"
    )
    code = (
        # A shell starts what it has in the background without SIGINT, and children inherit that.
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "from medbench.__main__ import invoke; "
        "from medbench.harness.sweep.cells import SweepCell; "
        f"SweepCell.command = lambda *_, **__: [sys.executable, '-c', {cell!r}]; "
        "sys.exit(invoke(sys.argv[1:]))"
    )
    words = ["sweep", str(spec), "--output", str(tmp_path / "r")]
    with subprocess.Popen(
        [sys.executable, "-c", code, *words], stderr=subprocess.PIPE, text=True
    ) as sweep:
        try:
            while not note.exists() or note.read_text().count("\n") < 2:
                assert sweep.poll() is None
                time.sleep(0.05)
            sweep.send_signal(sent)
            _, told = sweep.communicate(timeout=60)
        finally:
            sweep.kill()
    assert sweep.returncode == ExitCode.INTERRUPTED, told
    assert "kept, the same command goes on" in told
    cells = [int(line) for line in note.read_text().split()]
    assert len(cells) == 2
    for each in cells:
        with pytest.raises(ProcessLookupError):
            os.kill(each, 0)

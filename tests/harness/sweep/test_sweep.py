from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from medbench.__main__ import invoke
from medbench.harness.errors import ExitCode, UsageError
from medbench.harness.record_files import load_record, record_files
from medbench.harness.sweep.attempt import Attempt, attempt
from medbench.harness.sweep.cells import SweepCell, cells_of
from medbench.harness.sweep.engines import LocalEngine
from medbench.harness.sweep.estimate import estimate
from medbench.harness.sweep.named import named_specs
from medbench.harness.sweep.spec import SweepSpec, TaskTerms, read_spec
from medbench.harness.sweep.state import SweepState
from medbench.harness.sweep.sweep import done_so_far, work_through

SPEC = SweepSpec(("mean", "down16"), (TaskTerms("recon", ("sample",), limit=1),), at_a_time=2)


def _write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def spec_file(tmp_path) -> Path:
    return _write(
        tmp_path / "sweep.yaml",
        "tokenizers: [mean, down16]\n"
        "tasks: [{name: recon, datasets: [sample], limit: 1}]\n"
        "at_a_time: 2\n",
    )


def test_a_file_says_what_the_dataclass_says(spec_file):
    assert read_spec(spec_file) == SPEC


def test_a_task_may_be_its_name_alone(tmp_path):
    path = _write(tmp_path / "s.yaml", "tokenizers: [mean]\ntasks: [recon]\n")
    assert read_spec(path).tasks == (TaskTerms("recon"),)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tokenizers: [mean]\n", "lacks tasks"),
        ("tokenizers: []\ntasks: [recon]\n", "the sweep: tokenizers is empty"),
        ("tokenizers: [mean]\ntasks: [recon]\nthread: 2\n", "unknown terms: thread"),
        ("tokenizers: [mean]\ntasks: [{name: recon, seed: 1}]\n", "unknown terms: seed"),
        ("tokenizers: [mean]\ntasks: [recon]\nthreads: 0\n", "at least 1"),
        ("tokenizers: [mean]\ntasks: [recon]\nretries: '1'\n", "retries"),
        ("tokenizers: !!python/object/apply:os.system [x]\n", "not a readable sweep"),
        ("- a\n", "must hold"),
    ],
)
def test_a_wrong_file_is_refused_with_its_place(tmp_path, text, message):
    path = _write(tmp_path / "s.yaml", text)
    with pytest.raises(UsageError, match=message) as caught:
        read_spec(path)
    assert str(path) in str(caught.value)


def test_the_grid_holds_every_combination_once():
    spec = replace(SPEC, tokenizers=("mean", "down16", "mean@reference"), seeds=(0, 1, 2))
    cells = cells_of(spec)
    # Reconstruction draws nothing, so seeds make no further cells of it.
    assert [cell.tokenizer for cell in cells] == ["mean@reference", "down16@reference"]
    assert {cell.seed for cell in cells} == {None}
    assert len({cell.key for cell in cells}) == 2


def test_a_star_stands_for_all_that_have_the_variant_ready():
    names = {cell.tokenizer for cell in cells_of(replace(SPEC, tokenizers=("*@tiny",)))}
    assert "meditok@tiny" in names
    assert all(name.endswith("@tiny") for name in names)
    with pytest.raises(UsageError, match="no tokenizer has the variant 'large'"):
        cells_of(replace(SPEC, tokenizers=("*@large",)))


def test_unknown_names_are_refused_before_anything_runs():
    with pytest.raises(UsageError, match="did you mean|Did you mean"):
        cells_of(replace(SPEC, tokenizers=("meditokk",)))


class Told:
    """An engine that gives prepared verdicts and notes what it was asked."""

    def __init__(self, verdicts: dict[str, str], output: Path) -> None:
        self.verdicts, self.output, self.asked = verdicts, output, []

    def run(self, cells, started) -> Iterator[Attempt]:
        for cell in cells:
            self.asked.append(cell.tokenizer)
            started(cell)
            verdict = self.verdicts.get(cell.tokenizer, "done")
            record = f"{cell.key}.json"
            if verdict == "done":
                (self.output / record).write_text("{}")
            yield Attempt(cell.key, verdict, 2.0, 1, "why", record, "ok")


def test_what_is_done_is_not_run_again_and_what_failed_is(tmp_path):
    cells = cells_of(SPEC)
    first = Told({"down16@reference": "failed"}, tmp_path)
    assert len(work_through(cells, first, tmp_path).unfinished) == 1
    second = Told({}, tmp_path)
    assert not work_through(cells, second, tmp_path).unfinished
    assert second.asked == ["down16@reference"]
    (tmp_path / f"{cells[0].key}.json").unlink()  # a lost record is measured again
    third = Told({}, tmp_path)
    work_through(cells, third, tmp_path)
    assert third.asked == ["mean@reference"]


def test_a_line_that_a_kill_cut_off_is_passed_over(tmp_path):
    cells = cells_of(SPEC)
    work_through(cells, Told({}, tmp_path), tmp_path)
    path = tmp_path / ".sweep" / "attempts.jsonl"
    path.write_bytes(path.read_bytes()[:-20])
    assert len(done_so_far(tmp_path)) == 1


def test_time_is_estimated_from_cells_of_the_same_kind(tmp_path):
    cells = cells_of(SPEC)
    nothing = estimate(SPEC, cells, {}, tmp_path)
    assert (nothing.seconds, nothing.unknown) == (None, 2)
    work_through(cells[:1], Told({}, tmp_path), tmp_path)
    one = estimate(SPEC, cells, done_so_far(tmp_path), tmp_path)
    assert one.seconds == 2.0 / 2  # two at a time
    assert one.bytes_kept == 2


def test_named_sweeps_are_valid():
    assert "demo" in named_specs()
    for path in named_specs().values():
        assert cells_of(read_spec(path))


def test_a_sweep_gives_the_records_of_its_runs(spec_file, tmp_path, capsys):
    results = tmp_path / "results"
    assert invoke(["sweep", str(spec_file), "--output", str(results)]) == ExitCode.OK
    assert "2 of 2 cells are done" in capsys.readouterr().out
    swept = {load_record(path).full_name: load_record(path) for path in record_files(results)}
    assert set(swept) == {"mean@reference", "down16@reference"}
    words = ["run", "--tokenizer", "mean", "--task", "recon", "--dataset", "sample"]
    invoke([*words, "--limit", "1", "--output", str(tmp_path / "alone"), "--json"])
    (alone,) = json.loads(capsys.readouterr().out)
    assert swept["mean@reference"].model_dump(mode="json")["metrics"] == alone["metrics"]
    assert invoke(["sweep", str(spec_file), "--output", str(results), "--dry-run"]) == 0
    assert "2 cells, 0 to run" in capsys.readouterr().out


def test_a_cell_that_cannot_be_met_is_refused_once_with_the_reason(tmp_path):
    cell = SweepCell("mean@reference", "recon", "folder:nowhere", None, None, ())
    log = SweepState(tmp_path).log(cell.key)
    found = attempt(cell, output=tmp_path, log=log, device="cpu", threads=1, retries=3)
    assert (found.verdict, found.tries) == ("refused", 1)
    assert "nowhere" in found.reason
    assert "nowhere" in log.read_text()


def test_a_crash_is_tried_again(tmp_path, monkeypatch):
    (tmp_path / "crash.py").write_text("def build(**_):\n    import os; os._exit(9)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.syspath_prepend(str(tmp_path))
    spec = replace(SPEC, tokenizers=("crash:build",), retries=1)
    engine = LocalEngine(spec, tmp_path / "results")
    (found,) = engine.run(cells_of(spec), lambda _: None)
    assert (found.verdict, found.tries) == ("failed", 2)

"""What a sweep holds for done, what it says, and what it leaves."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Generator
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from medbench.__main__ import invoke
from medbench.harness.datasets import medsynth
from medbench.harness.datasets.synthetic import SEED
from medbench.harness.errors import ExitCode, UsageError
from medbench.harness.record_files import load_record, record_files
from medbench.harness.runner import execute
from medbench.harness.sweep.attempt import Attempt
from medbench.harness.sweep.cells import cells_of
from medbench.harness.sweep.costs import table_machine, tabled
from medbench.harness.sweep.estimate import estimate
from medbench.harness.sweep.named import find_spec
from medbench.harness.sweep.recorded import recorded
from medbench.harness.sweep.report import plan_text, result_text
from medbench.harness.sweep.spec import SweepSpec, TaskTerms, TokenizerTerms
from medbench.harness.sweep.state import SweepState, read_attempts
from medbench.harness.sweep.sweep import SweepResult, work_through


def named(*names: str) -> tuple[TokenizerTerms, ...]:
    return tuple(map(TokenizerTerms, names))


TASK = TaskTerms("recon", ("sample",), limit=1)
SPEC = SweepSpec(named("mean", "down16"), (TASK,), at_a_time=2)


class Told:
    """An engine that measures in this process, or gives prepared verdicts; notes what it did."""

    def __init__(self, output: Path, verdicts: dict[str, str] | None = None) -> None:
        self.output, self.verdicts, self.asked = output, verdicts or {}, []

    def run(self, cells, started) -> Generator[Attempt]:
        for cell in cells:
            self.asked.append(cell.tokenizer)
            started(cell)
            verdict = self.verdicts.get(cell.tokenizer, "done")
            record = ""
            if verdict == "done":
                result = execute(cell.request(self.output), choices=[cell.choice()])
                record = str(result.cells[0].path.relative_to(self.output))
            yield Attempt(cell.key, verdict, 2.0, 1, "why", record, "ok")


def asked(cells, output: Path, verdicts: dict[str, str] | None = None) -> list[str]:
    """Tokenizers of the cells that a sweep runs now."""
    engine = Told(output, verdicts)
    work_through(cells, engine, output, recorded(cells, output))
    return engine.asked


BOTH = ["mean@reference", "down16@reference"]


def test_what_is_done_is_not_run_again_and_what_failed_or_is_lost_is(tmp_path):
    cells = cells_of(SPEC)
    assert asked(cells, tmp_path, {BOTH[1]: "failed"}) == BOTH
    assert asked(cells, tmp_path) == BOTH[1:]
    next(tmp_path.rglob("mean*/*.json")).unlink()
    assert asked(cells, tmp_path) == BOTH[:1]
    assert asked(cells, tmp_path) == []


def test_what_is_no_record_is_not_done(tmp_path):
    cells = cells_of(SPEC)
    asked(cells, tmp_path)
    next(tmp_path.rglob("mean*/*.json")).write_text("{}")
    assert recorded(cells, tmp_path).keys() == {cells[1].key}


def test_other_data_or_weights_are_measured_anew(factory, tmp_path, image_folder):
    factory(
        "from medbench.harness.tokenizer_registry import load_tokenizer\n"
        "return load_tokenizer('mean')"
    )
    weights = tmp_path / "w.bin"
    weights.write_bytes(b"a")
    terms = TokenizerTerms("odd:build", weights=str(weights), label="own")
    task = TaskTerms("recon", (f"folder:{image_folder}",), limit=1)
    cells = cells_of(replace(SPEC, tokenizers=(*named("mean"), terms), tasks=(task,)))
    results = tmp_path / "results"
    assert len(asked(cells, results)) == 2
    assert len(recorded(cells, results)) == 2
    weights.write_bytes(b"b")
    assert recorded(cells, results).keys() == {cells[0].key}
    for path in (image_folder / "ct").iterdir():
        path.write_bytes(next((image_folder / "fundus").iterdir()).read_bytes())
    assert not recorded(cells, results)


def _make_stale(results: Path, name: str) -> Path:
    path = next(results.rglob(f"{name}*/*.json"))
    path.write_text(path.read_text().replace('"code_version": "', '"code_version": "0.0.1-'))
    return path


def test_what_other_code_measured_is_shown_and_measured_again_when_forced(
    spec_file, tmp_path, capsys
):
    cells = cells_of(SPEC)
    asked(cells, tmp_path)
    path = _make_stale(tmp_path, "mean")
    done = recorded(cells, tmp_path)
    assert done[cells[0].key].status == "stale"
    assert " stale  mean@reference" in plan_text(SPEC, cells, done, tmp_path)
    said = result_text(SweepResult(cells, [done[cell.key] for cell in cells]), tmp_path)
    assert "2 of 2 cells are done" in said
    assert "1 of them are stale" in said
    assert "- mean@reference" in said
    command = ["sweep", str(spec_file), "--output", str(tmp_path), "--force"]
    assert invoke([*command, "--dry-run"]) == 0
    assert "2 cells, 1 to run" in capsys.readouterr().out
    assert invoke(command) == 0
    assert "stale" not in capsys.readouterr().out
    assert load_record(path).status == "ok"
    assert not list(tmp_path.rglob("down16*/*.replaced")), "of this code: left as it is"


def test_what_is_done_is_known_without_torch(spec_file, tmp_path):
    asked(cells_of(SPEC), tmp_path)
    code = (
        "import sys; from medbench.__main__ import invoke; code = invoke(sys.argv[1:]); "
        "assert 'torch' not in sys.modules, 'torch was imported'; sys.exit(code)"
    )
    words = ["sweep", str(spec_file), "--output", str(tmp_path), "--dry-run"]
    plan = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, check=False
    )
    assert plan.returncode == 0, plan.stderr
    assert "2 cells, 0 to run" in plan.stdout


def test_a_line_that_a_kill_cut_off_is_passed_over_and_swallows_no_other(tmp_path):
    state = SweepState(tmp_path)
    for key in "abc":
        state.add(Attempt(key, "done", 1.0, 1))
    path = tmp_path / ".sweep" / "attempts.jsonl"
    path.write_bytes(path.read_bytes()[:-20])
    assert set(state.latest()) == set("ab")
    state.add(Attempt("d", "done", 1.0, 1))
    assert set(state.latest()) == set("abd")


@pytest.mark.parametrize(
    "change",
    [
        {"seconds": "x"},
        {"seconds": float("nan")},
        {"record": 5},
        {"verdict": "fine"},
        {"key": []},
    ],
)
def test_a_damaged_line_is_passed_over_with_a_warning(tmp_path, caplog, change):
    whole = asdict(Attempt("a", "done", 1.0, 1))
    path = tmp_path / "attempts.jsonl"
    path.write_text("\n".join(map(json.dumps, [whole, whole | change])) + "\n" + "[" * 100_000)
    assert read_attempts(path) == [Attempt("a", "done", 1.0, 1)]
    assert f"{path}: 2 of 3 lines are damaged" in caplog.text


def test_an_attempt_whose_record_can_be_no_path_is_not_done(tmp_path):
    cells = cells_of(SPEC)
    for cell, record in zip(cells, ("a" * 5000, "\0"), strict=True):
        SweepState(tmp_path).add(Attempt(cell.key, "done", 1.0, 1, record=record))
    assert recorded(cells, tmp_path) == {}


def test_attempts_that_are_no_file_are_refused_by_name(tmp_path):
    (tmp_path / ".sweep" / "attempts.jsonl").mkdir(parents=True)
    with pytest.raises(UsageError, match=r"cannot read .*attempts\.jsonl.*Remove it"):
        SweepState(tmp_path).latest()


def test_time_and_disk_are_estimated_from_cells_of_the_same_kind_as_far_as_known(tmp_path):
    cells = cells_of(SPEC)
    nothing = estimate(SPEC, cells, {}, tmp_path)
    assert (nothing.known, nothing.unknown) == (0, {"recon on sample": 2})
    asked(cells[:1], tmp_path)
    done = recorded(cells, tmp_path)
    one = estimate(SPEC, cells, done, tmp_path)
    # Two at a time make a single cell no quicker.
    assert (one.known, one.seconds, one.slots, one.unknown) == (1, 2.0, 2, {})
    assert one.bytes_kept > 1000
    further = cells_of(replace(SPEC, tasks=(TASK, TaskTerms("probe", limit=3))))
    said = plan_text(SPEC, further, done, tmp_path)
    assert "about 0.0 minutes on one machine, 2 at a time" in said
    assert "MB of results for 1 of them (the cache is not counted)" in said
    assert "unknown for 2 cells (2 of probe on medsynth)" in said


@pytest.mark.parametrize(("at_a_time", "seconds"), [(1, 42.0 + 21.0), (2, 40.0), (8, 40.0)])
def test_a_cell_takes_what_its_own_tokenizer_took_and_the_longest_is_waited_for(
    tmp_path, at_a_time, seconds
):
    task = TaskTerms("probe", ("sample",), limit=1)
    spec = SweepSpec(named("mean", "down16"), (task,), seeds=(0, 1), at_a_time=at_a_time)
    more = replace(spec, tokenizers=named("mean", "down16", "down8"), seeds=(0, 1))
    took = {"mean@reference": 40.0, "down16@reference": 2.0}
    cells = [cell for cell in cells_of(more) if cell.seed == 0 or cell.tokenizer in took]
    done = {
        cell.key: Attempt(cell.key, "done", took[cell.tokenizer], 1, record="r")
        for cell in cells
        if cell.seed == 0 and cell.tokenizer in took
    }
    # The other seed of two, and a tokenizer that was not run yet: the median of both, 21 seconds.
    assert estimate(spec, cells, done, tmp_path).seconds == seconds


def test_the_sweep_that_comes_along_has_an_estimate_before_anything_is_run(tmp_path):
    spec = find_spec("demo")
    cells = cells_of(spec)
    guess = estimate(spec, cells, {}, tmp_path)
    assert (guess.known, guess.tabled, guess.unknown) == (len(cells), len(cells), {})
    assert 60 < guess.seconds < 24 * 3600
    assert guess.bytes_kept > 1000 * len(cells)
    said = plan_text(spec, cells, {}, tmp_path)
    assert f"{len(cells)} of these by a table that was measured on {table_machine()}" in said


def test_the_demo_probes_enough_images_for_a_value_over_all_modalities():
    (limit,) = {cell.limit for cell in cells_of(find_spec("demo")) if cell.task == "probe"}
    for modality in medsynth.MODALITIES:
        learnt, scored = (
            {
                medsynth.describe(modality, index, seed=SEED, split=split).label
                for index in range(count)
            }
            for split, count in (("train", 4 * limit), ("test", limit))
        )
        assert learnt == scored


def test_the_table_is_for_the_networks_that_it_was_measured_with():
    cell = next(cell for cell in cells_of(find_spec("demo")) if cell.tokenizer == "meditok@tiny")
    assert tabled(cell) is not None
    for other in (
        replace(cell, tokenizer="meditok@paper"),
        replace(cell, limit=9),
        replace(cell, precision="bf16"),
        replace(cell, own=(("weights", "a.pt"),)),
    ):
        assert tabled(other) is None


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


def test_a_site_of_no_records_is_said_and_not_a_traceback(tmp_path, capfd):
    path = tmp_path / "s.yaml"
    path.write_text(
        "tokenizers: [mean]\ntasks: [{name: recon, datasets: ['folder:nowhere']}]\n"
        f"site: {tmp_path / 'site'}\n",
    )
    code = invoke(["sweep", str(path), "--output", str(tmp_path / "r")])
    told = capfd.readouterr()
    assert code == ExitCode.CELLS_FAILED
    assert "holds no records" in told.err
    assert "no whole site" in told.err

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from medbench.__main__ import invoke
from medbench.harness.errors import ExitCode, UsageError
from medbench.harness.record_files import load_record, record_files
from medbench.harness.runner import execute
from medbench.harness.sweep import engines
from medbench.harness.sweep.attempt import Attempt, RunTerms, attempt
from medbench.harness.sweep.cells import SweepCell, cells_of
from medbench.harness.sweep.engines import LocalEngine, RayEngine
from medbench.harness.sweep.estimate import estimate
from medbench.harness.sweep.named import named_specs
from medbench.harness.sweep.recorded import recorded
from medbench.harness.sweep.report import plan_text, result_text
from medbench.harness.sweep.spec import SweepSpec, TaskTerms, TokenizerTerms, read_spec
from medbench.harness.sweep.state import SweepState
from medbench.harness.sweep.sweep import SweepResult, work_through


def named(*names: str) -> tuple[TokenizerTerms, ...]:
    return tuple(map(TokenizerTerms, names))


TASK = TaskTerms("recon", ("sample",), limit=1)
SPEC = SweepSpec(named("mean", "down16"), (TASK,), at_a_time=2)


def _write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def spec_file(tmp_path) -> Path:
    return _file_of(tmp_path)


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
        ("tokenizers: [mean]\ntasks: [recon]\nbatch_size: 0\n", "batch_size is 0"),
        ("tokenizers: [{weights: a.pt}]\ntasks: [recon]\n", r"tokenizers\[0\] lacks name"),
        ("tokenizers: [{name: '*@tiny', label: a}]\ntasks: [recon]\n", "names many"),
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
    spec = replace(SPEC, tokenizers=named("mean", "down16", "mean@reference"), seeds=(0, 1, 2))
    cells = cells_of(spec)
    # Reconstruction draws nothing, so seeds make no further cells of it.
    assert [cell.tokenizer for cell in cells] == ["mean@reference", "down16@reference"]
    assert {cell.seed for cell in cells} == {None}
    assert len({cell.key for cell in cells}) == 2


def test_a_star_stands_for_all_that_have_the_variant_ready():
    names = {cell.tokenizer for cell in cells_of(replace(SPEC, tokenizers=named("*@tiny")))}
    assert "meditok@tiny" in names
    assert all(name.endswith("@tiny") for name in names)
    with pytest.raises(UsageError, match="no tokenizer has the variant 'large'"):
        cells_of(replace(SPEC, tokenizers=named("*@large")))


def test_a_checkpoint_is_a_cell_of_its_own(tmp_path):
    weights = tmp_path / "a.safetensors"
    weights.write_bytes(b"a")
    path = _write(
        tmp_path / "s.yaml",
        f"tokenizers: [meditok, {{name: meditok, weights: {weights}, config: {{a: 1}}, label: x}}]"
        "\ntasks: [{name: recon, options: {retention: true, extractor: tf}}]\n"
        f"batch_size: 4\ndata_root: {tmp_path}\n",
    )
    plain, own = cells_of(read_spec(path))
    assert own.key != plain.key
    assert own.title == "meditok (x) · recon on medsynth"
    assert own.choice().full_name == "meditok@x"
    assert own.arguments()[5:] == (
        *("--dataset", "medsynth", "--batch-size", "4", "--data-root", str(tmp_path)),
        *("--weights", str(weights), "--config", '{"a":1}', "--label", "x"),
        *("--extractor", "tf", "--retention"),
    )
    weights.unlink()
    with pytest.raises(UsageError, match="no weights at"):
        cells_of(read_spec(path))


def test_a_flag_that_is_false_is_not_given():
    assert TaskTerms("recon", options={"retention": False}).given == {}
    assert TaskTerms("recon", options={"retention": "yes"}).given == {"retention": "yes"}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"tokenizers": named("meditokk")}, "Did you mean: meditok"),
        ({"tasks": (TaskTerms("recno"),)}, "Did you mean: recon"),
        ({"tasks": (TaskTerms("recon", ("smaple",)),)}, "Did you mean: sample"),
        ({"tasks": (TaskTerms("recon", options={"retenton": True}),)}, "--retenton is not an"),
        ({"tasks": (TaskTerms("recon", options={"preset": "tiny"}),)}, "--preset is not an"),
        ({"tasks": (TaskTerms("synthesis", options={"preset": "tyni"}),)}, "tyni"),
    ],
)
def test_unknown_names_are_refused_before_anything_runs(changed, message):
    with pytest.raises(UsageError, match=message):
        cells_of(replace(SPEC, **changed))


def test_what_is_not_on_this_machine_refuses_its_own_cells_alone(caplog):
    gone = TaskTerms("recon", ("sample", "folder:nowhere"), limit=1)
    assert len(cells_of(replace(SPEC, tasks=(gone,)))) == 4
    assert "nowhere" in caplog.text


class Told:
    """An engine that measures in this process, or gives prepared verdicts; notes what it did."""

    def __init__(self, output: Path, verdicts: dict[str, str] | None = None) -> None:
        self.output, self.verdicts, self.asked = output, verdicts or {}, []

    def run(self, cells, started) -> Iterator[Attempt]:
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


def test_other_data_or_weights_are_measured_anew(tmp_path, image_folder):
    weights = tmp_path / "w.bin"
    weights.write_bytes(b"a")
    terms = TokenizerTerms("mean", weights=str(weights), label="own")
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


def test_what_is_done_is_known_without_torch(tmp_path):
    asked(cells_of(SPEC), tmp_path)
    code = (
        "import sys; from medbench.__main__ import invoke; code = invoke(sys.argv[1:]); "
        "assert 'torch' not in sys.modules, 'torch was imported'; sys.exit(code)"
    )
    words = ["sweep", str(_file_of(tmp_path)), "--output", str(tmp_path), "--dry-run"]
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


def test_time_and_disk_are_estimated_from_cells_of_the_same_kind_as_far_as_known(tmp_path):
    cells = cells_of(SPEC)
    nothing = estimate(SPEC, cells, {}, tmp_path)
    assert (nothing.known, nothing.unknown) == (0, {"recon on sample": 2})
    asked(cells[:1], tmp_path)
    done = recorded(cells, tmp_path)
    one = estimate(SPEC, cells, done, tmp_path)
    assert (one.known, one.seconds, one.unknown) == (1, 2.0 / 2, {})  # two at a time
    assert one.bytes_kept > 1000
    further = cells_of(replace(SPEC, tasks=(TASK, TaskTerms("probe", limit=3))))
    said = plan_text(SPEC, further, done, tmp_path)
    assert "about 0.0 minutes" in said
    assert "MB of results for 1 of them" in said
    assert "unknown for 2 cells (2 of probe on medsynth)" in said


def test_named_sweeps_are_valid():
    assert "demo" in named_specs()
    for path in named_specs().values():
        assert cells_of(read_spec(path))


def _file_of(folder: Path) -> Path:
    return _write(
        folder / "sweep.yaml",
        "tokenizers: [mean, down16]\n"
        "tasks: [{name: recon, datasets: [sample], limit: 1}]\n"
        "at_a_time: 2\n",
    )


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


def _try(cell: SweepCell, output: Path, retries: int = 3) -> Attempt:
    log = SweepState(output).log(cell.key)
    return attempt(cell, RunTerms(output, retries=retries), log=log, device="cpu")


def test_a_cell_that_cannot_be_met_is_refused_once_with_the_reason(tmp_path):
    cell = SweepCell("mean@reference", "recon", "folder:nowhere")
    found = _try(cell, tmp_path)
    assert (found.verdict, found.tries) == ("refused", 1)
    assert "nowhere" in found.reason
    assert "nowhere" in SweepState(tmp_path).log(cell.key).read_text()


@pytest.fixture
def factory(tmp_path, monkeypatch):
    """Makes a tokenizer's factory of a body; the cell that calls it."""

    def write(body: str) -> SweepCell:
        lines = "\n".join(f"    {line}" for line in body.splitlines())
        (tmp_path / "odd.py").write_text(f"def build(**terms):\n{lines}\n")
        return SweepCell("odd:build", "recon", "sample", limit=1)

    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "odd", raising=False)
    return write


_GOOD = (
    "from medbench.harness.tokenizer_registry import load_tokenizer\nreturn load_tokenizer('mean')"
)


def test_a_crash_is_tried_again(factory, tmp_path):
    cell = factory("import os; os._exit(9)")
    (found,) = LocalEngine(replace(SPEC, retries=1), tmp_path / "r").run([cell], lambda _: None)
    assert (found.verdict, found.tries) == ("failed", 2)


def test_an_error_that_says_to_run_again_is_tried_again(factory, tmp_path):
    once = tmp_path / "once"
    cell = factory(
        "from pathlib import Path\n"
        "from medbench.harness.training.loop import Interrupted\n"
        f"if not Path({str(once)!r}).exists():\n"
        f"    Path({str(once)!r}).touch()\n"
        "    raise Interrupted('stopped after step 3')\n" + _GOOD
    )
    found = _try(cell, tmp_path / "r")
    assert (found.verdict, found.tries) == ("done", 2), found.reason


@pytest.mark.parametrize(
    "end", ["raise KeyboardInterrupt", "import os; os.kill(os.getpid(), 15)"], ids=["130", "-15"]
)
def test_a_cell_that_somebody_stopped_is_not_tried_again(factory, tmp_path, end):
    found = _try(factory(end), tmp_path / "r")
    assert (found.verdict, found.tries) == ("stopped", 1)


def test_a_tokenizer_that_prints_leaves_the_json_alone(factory, tmp_path, capfd):
    loud = "import ctypes, os, subprocess\nprint('python')\nos.write(1, b'descriptor')\n"
    loud += "subprocess.run(['echo', 'child'])\nctypes.CDLL(None).printf(b'buffered')\n"
    cell = factory(loud + _GOOD)
    assert invoke([*cell.arguments(), "--output", str(tmp_path / "r"), "--json"]) == 0
    told = capfd.readouterr()
    (record,) = json.loads(told.out)
    assert record["status"] == "ok"
    assert all(word in told.err for word in ("python", "descriptor", "child", "buffered"))


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_ends_the_cells_that_run_and_starts_none(factory, tmp_path, sent):
    note = tmp_path / "started"
    factory(
        f"import os, time\nopen({str(note)!r}, 'a').write(f'{{os.getpid()}}\\n')\ntime.sleep(600)"
    )
    tasks = "[{name: recon, datasets: [sample], limit: 1}, {name: recon, datasets: [sample]}]"
    path = _write(tmp_path / "s.yaml", f"tokenizers: ['odd:build']\ntasks: {tasks}\nretries: 3\n")
    words = ["sweep", str(path), "--output", str(tmp_path / "r")]
    with subprocess.Popen(
        [sys.executable, "-m", "medbench", *words], stderr=subprocess.PIPE, text=True
    ) as sweep:
        while not note.exists() or not note.read_text().endswith("\n"):
            assert sweep.poll() is None, sweep.stderr.read()
            time.sleep(0.1)
        sweep.send_signal(sent)
        _, told = sweep.communicate(timeout=60)
    assert sweep.returncode == ExitCode.INTERRUPTED, told
    assert "kept, the same command goes on" in told
    (child,) = map(int, note.read_text().split())
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


def test_a_site_of_no_records_is_said_and_not_a_traceback(tmp_path, capfd):
    path = _write(
        tmp_path / "s.yaml",
        "tokenizers: [mean]\ntasks: [{name: recon, datasets: ['folder:nowhere']}]\n"
        f"site: {tmp_path / 'site'}\n",
    )
    code = invoke(["sweep", str(path), "--output", str(tmp_path / "r")])
    told = capfd.readouterr()
    assert code == ExitCode.CELLS_FAILED
    assert "holds no records" in told.err
    assert "no whole site" in told.err


class Calls:
    """In the place of a cluster: notes what it is asked."""

    gpus = 0.0

    def __init__(self, address=None) -> None:
        self.resources = {}

    def each(self, work, arguments, *, retries, resources):
        del work, retries
        self.arguments, self.resources = arguments, resources
        yield from ()


@pytest.mark.parametrize(
    ("devices", "gpus", "resources", "device"),
    [
        (("auto",), 0.0, {"num_cpus": 8}, "auto"),
        (("auto",), 4.0, {"num_cpus": 8, "num_gpus": 0.5}, "auto"),
        (("cuda",), 4.0, {"num_cpus": 8, "num_gpus": 0.5}, "auto"),
        (("cpu",), 4.0, {"num_cpus": 8}, "cpu"),
    ],
)
def test_ray_is_asked_for_all_threads_and_for_the_gpus_there_are(
    tmp_path, monkeypatch, devices, gpus, resources, device
):
    monkeypatch.setattr(engines, "Cluster", Calls)
    monkeypatch.setattr(Calls, "gpus", gpus)
    engine = RayEngine(replace(SPEC, devices=devices, threads=8), tmp_path)
    list(engine.run(cells_of(SPEC), lambda _: None))
    assert engine._cluster.resources == resources
    assert {call["device"] for call in engine._cluster.arguments} == {device}


def test_ray_cells_see_the_callers_places(tmp_path, monkeypatch, image_folder):
    monkeypatch.setattr(engines, "Cluster", Calls)
    monkeypatch.chdir(image_folder.parent)
    monkeypatch.setenv("MEDBENCH_CACHE", "own-cache")
    spec = replace(SPEC, tasks=(TaskTerms("recon", ("folder:images",), limit=1),))
    engine = RayEngine(spec, Path("results"))
    list(engine.run(cells_of(spec)[:1], lambda _: None))
    (call,) = engine._cluster.arguments
    monkeypatch.delenv("MEDBENCH_CACHE")  # as on a worker, whose folder is another one, too
    monkeypatch.chdir("/")
    assert attempt(**call).verdict == "done"
    assert (image_folder.parent / "own-cache").is_dir()
    assert list(record_files(image_folder.parent / "results"))

from __future__ import annotations

import io
import json
import logging
import os
import pty
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medbench.harness.training import journal as module
from medbench.harness.training.curve_picture import draw_curve
from medbench.harness.training.curves import Curve
from medbench.harness.training.journal import Journal
from medbench.harness.training.json_lines import StepLines, read_lines
from medbench.harness.training.recipe import Validation

SHEET = np.arange(8 * 12 * 3, dtype=np.uint8).reshape(8, 12, 3)


def tell(folder: Path, steps: range, *, whole: int = 12, validate_every: int = 4) -> None:
    """What a run of those steps tells a journal."""
    with Journal(folder, steps=whole, log_every=2, first_step=steps.start) as journal:
        for step in steps:
            readings = {"learning_rate": 0.1, "l1": 1 / (step + 1), "psnr": 20.0 + step}
            journal.add(step, readings, images=3)
            if (step + 1) % validate_every == 0:
                scores = {"psnr": 19.0 + step, "psnr/ct": 18.0 + step}
                journal.add_validation(step + 1, Validation(scores, SHEET))


def told(folder: Path) -> dict[str, list[dict]]:
    """All lines, without what depends on the clock."""
    return {
        name: [
            {k: v for k, v in line.items() if "per_second" not in k}
            for line in read_lines(folder / name)
        ]
        for name in ("curve.jsonl", "validation.jsonl")
    }


def events(folder: Path) -> dict[str, list[tuple[int, float]]]:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    found = accumulator.EventAccumulator(str(folder / "tensorboard"))
    found.Reload()
    return {
        tag: [(e.step, e.value) for e in found.Scalars(tag)]
        for tag in found.Tags()["scalars"]
        if "per_second" not in tag
    }


def test_a_run_tells_its_curve_its_scores_and_its_samples(tmp_path) -> None:
    tell(tmp_path, range(12))
    found = told(tmp_path)
    assert [line["step"] for line in found["curve.jsonl"]] == [2, 4, 6, 8, 10, 12]
    assert found["curve.jsonl"][0] == {"step": 2, "learning_rate": 0.1, "l1": 0.75, "psnr": 20.5}
    assert found["validation.jsonl"][1] == {"step": 8, "psnr": 26.0, "psnr/ct": 25.0}
    sheets = sorted((tmp_path / "samples").iterdir())
    assert [path.name for path in sheets] == [f"step-{n:07d}.png" for n in (4, 8, 12)]
    assert np.array_equal(np.asarray(Image.open(sheets[0])), SHEET)
    assert min(Image.open(tmp_path / "curve.png").size) > 200


def test_tensorboard_gets_what_the_lines_have(tmp_path) -> None:
    tell(tmp_path, range(12))
    found = events(tmp_path)
    assert found["training/psnr"] == [(n, 18.5 + n) for n in (2, 4, 6, 8, 10, 12)]
    assert found["validation/psnr/ct"] == [(n, 17.0 + n) for n in (4, 8, 12)]


def test_a_resumed_run_drops_what_was_told_of_later_steps(tmp_path) -> None:
    tell(tmp_path / "whole", range(12))
    place = tmp_path / "resumed"
    tell(place, range(11))
    (place / "samples" / "step-notes.png").write_bytes(b"not ours")
    tell(place, range(6, 12))
    assert told(place) == told(tmp_path / "whole")
    assert events(place) == events(tmp_path / "whole")
    tell(place, range(6, 7))
    assert [path.name for path in sorted((place / "samples").iterdir())] == [
        "step-0000004.png",
        "step-notes.png",
    ]


def test_a_line_in_progress_goes_on_after_a_resume(tmp_path) -> None:
    with Journal(tmp_path, steps=4, log_every=4, first_step=0) as first:
        first.add(0, {"l1": 1.0, "rare": 8.0}, images=1)
        state = json.loads(json.dumps(first.state_dict()))
    with Journal(tmp_path, steps=4, log_every=4, first_step=1) as second:
        second.load_state_dict(state)
        for step in (1, 2, 3):
            second.add(step, {"l1": 3.0}, images=1)
    assert told(tmp_path)["curve.jsonl"] == [{"step": 4, "l1": 2.5, "rare": 8.0}]


def test_readings_are_means_over_the_steps_that_had_a_number() -> None:
    curve = Curve(steps=9, log_every=3)
    assert curve.add(0, {"a": 1.0, "b": float("inf")}, images=1) is None
    assert curve.add(1, {"a": 2.0, "b": 4.0, "c": float("nan")}, images=1) is None
    line = curve.add(2, {"a": 6.0, "d": 5.0}, images=1)
    assert line is not None
    assert {k: line[k] for k in "abd"} == {"a": 3.0, "b": 4.0, "d": 5.0}
    assert "c" not in line


_KILLED = """
import os, signal, sys
from pathlib import Path
from medbench.harness.training.journal import Journal
from medbench.harness.training.recipe import Validation
journal = Journal(Path(sys.argv[1]), steps=12, log_every=2, first_step=0)
for step in range(7):
    journal.add(step, {"learning_rate": 0.1, "l1": 1 / (step + 1), "psnr": 20.0 + step}, images=3)
    if step == 3:
        scores = {"psnr": 19.0 + step, "psnr/ct": 18.0 + step}
        journal.add_validation(4, Validation(scores))
    if step == 5:
        journal.state_dict()  # as for a checkpoint after 6 steps
with open(Path(sys.argv[1]) / "curve.jsonl", "a") as file:
    file.write('{"step": 8, "l')  # as if the kill came in the middle of a line
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_kill_loses_nothing_that_a_checkpoint_saw(tmp_path) -> None:
    subprocess.run([sys.executable, "-c", _KILLED, str(tmp_path / "killed")], check=False)
    time.sleep(1)  # TensorBoard reads event files in the order of the seconds in their names
    tell(tmp_path / "killed", range(6, 12))
    tell(tmp_path / "whole", range(12))
    assert told(tmp_path / "killed") == told(tmp_path / "whole")
    assert events(tmp_path / "killed") == events(tmp_path / "whole")


def test_lines_that_cannot_be_written_are_written_later(tmp_path, caplog) -> None:
    path = tmp_path / "folder" / "lines.jsonl"
    lines = StepLines(path, last_step=0)
    lines.append({"step": 1})
    path.rename(tmp_path / "aside")
    path.mkdir()  # now nobody can write there
    lines.append({"step": 2})
    lines.append({"step": 3})
    assert len(caplog.records) == 1
    path.rmdir()
    (tmp_path / "aside").rename(path)
    with path.open("a") as file:
        file.write('{"ste')  # what an attempt left that met a full disk
    lines.append({"step": 4})
    assert [line["step"] for line in read_lines(path)] == [1, 2, 3, 4]
    assert path.read_text().count("\n") == 4


@pytest.mark.parametrize("broken", ["draw_curve", "_png"])
def test_a_picture_that_fails_is_a_warning(tmp_path, monkeypatch, caplog, broken) -> None:
    def fail(*_: object, **__: object) -> bytes:
        raise ValueError("no ink")

    monkeypatch.setattr(module, broken, fail)
    tell(tmp_path, range(12))
    assert "no ink" in caplog.text
    assert len(told(tmp_path)["curve.jsonl"]) == 6
    assert len(told(tmp_path)["validation.jsonl"]) == 3


def test_events_that_fail_are_a_warning(tmp_path, caplog) -> None:
    pytest.importorskip("tensorboard")
    (tmp_path / "tensorboard").write_bytes(b"a file where a folder should be")
    tell(tmp_path, range(12))
    assert "no more TensorBoard events" in caplog.text
    assert len(told(tmp_path)["curve.jsonl"]) == 6


def test_another_process_than_the_first_writes_nothing(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with Journal(None, steps=4, log_every=1, first_step=0) as journal:
        journal.add(0, {"l1": 1.0}, images=1)
        journal.add_validation(1, Validation({"psnr": 1.0}, SHEET))
        assert journal.state_dict()
    assert list(tmp_path.iterdir()) == []


def test_pictures_are_drawn_seldom_enough_to_cost_nothing(tmp_path, monkeypatch) -> None:
    drawn = []
    monkeypatch.setattr(module, "draw_curve", lambda *_, **__: drawn.append(1) or b"")
    tell(tmp_path, range(100), whole=100, validate_every=1)
    assert 2 <= len(drawn) < 20


@pytest.mark.parametrize(("lines", "validations"), [(1, 0), (0, 1), (5, 2), (1000, 30)])
def test_every_reading_has_a_panel(lines, validations) -> None:
    readings = [{"step": n, "l1": 1.0 / n, "l2": -1.0, "x": 3.0} for n in range(1, lines + 1)]
    scores = [{"step": 9 * n, "psnr": 20.0, "psnr/ct": 1.0} for n in range(1, validations + 1)]
    picture = Image.open(io.BytesIO(draw_curve(readings, scores, title="a run")))
    panels = (3 if lines else 0) + (1 if validations else 0)
    assert picture.width == round(3.3 * 110) * panels


def test_a_log_gets_the_last_line_and_the_scores(tmp_path, caplog) -> None:
    caplog.set_level(logging.INFO)
    tell(tmp_path, range(12))
    assert "step 12/12" in caplog.text
    assert "images/s" in caplog.text
    assert "step 10/12" not in caplog.text  # a line now and then, not every one
    assert "validation after step 8  psnr 26" in caplog.text


_ON_A_TERMINAL = """
import logging, sys, time
from pathlib import Path
from medbench.harness.training import step_display
from medbench.harness.training.journal import Journal
logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
step_display.PATIENCE_SECONDS = step_display._REDRAW_SECONDS = 0.0
with Journal(Path(sys.argv[1]), steps=500, log_every=2, first_step=0) as journal:
    for step in range(20):
        journal.add(step, {"learning_rate": 0.1, "l1": 0.25, "psnr": 20.0}, images=3)
        time.sleep(0.01)
    logging.warning("a word to the user")
logging.warning("a word after the bar")
"""


def test_a_terminal_shows_a_bar_with_losses_speed_and_time_left(tmp_path) -> None:
    ours, theirs = pty.openpty()
    subprocess.run(
        [sys.executable, "-c", _ON_A_TERMINAL, str(tmp_path)],
        stderr=theirs,
        check=True,
        env={**os.environ, "COLUMNS": "150", "TERM": "xterm"},
    )
    shown = os.read(ours, 1 << 16).decode()
    assert "20/500" in shown
    assert "l1 0.25  psnr 20" in shown
    assert "steps/s" in shown
    assert "images/s" in shown
    assert "a word to the user\r\n" in shown
    assert shown.rstrip().endswith("a word after the bar")

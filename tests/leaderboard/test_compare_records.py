"""Which records `medbench compare` takes, which it leaves out, and what it says of them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from medbench.__main__ import invoke
from medbench.harness.errors import UsageError
from medbench.harness.record_files import Stored, record_path, write_record
from medbench.harness.tables import Column
from medbench.leaderboard.comparison.matrix import matrices
from medbench.leaderboard.comparison.places import places, topic
from medbench.leaderboard.comparison.report import facts, text_report
from medbench.leaderboard.trust import record_key


def written(results, record):
    path = record_path(
        results,
        task=record.task,
        dataset_id=record.dataset.id,
        tokenizer=record.full_name,
        key8=record.identity.key8,
    )
    write_record(path, record)
    return Stored(path, record)


def cell(record, options=None, created="2026-01-01T00:00:00Z", without=()):
    """A record of the same system, measured with other options and without some metrics."""
    identity = record.identity.model_copy(update={"options": options or {}})
    metrics = [metric for metric in record.metrics if metric.name not in without]
    return record.model_copy(update={"identity": identity, "created": created, "metrics": metrics})


def moved(record, by):
    """The record with a higher SSIM."""
    metrics = [
        replace(m, value=m.value + by, low=m.low + by, high=m.high + by, replicates=None)
        if m.name == "ssim_u7" and m.low is not None
        else m
        for m in record.metrics
    ]
    return record.model_copy(update={"metrics": metrics})


@pytest.mark.parametrize("first", ["plain", "more"])
def test_of_two_records_the_one_that_has_the_metric_is_compared(make, tmp_path, capsys, first):
    plain, more = {"extractor": ""}, {"extractor": "x"}
    order = {"plain": (plain, more), "more": (more, plain)}[first]
    written(tmp_path, cell(make("a"), order[0], without=["ssim_u7"]))
    written(tmp_path, cell(moved(make("a"), 0.1), order[1]))
    written(tmp_path, make("b"))
    assert invoke(["compare", "a", "b", "--metric", "ssim_u7", "--results", str(tmp_path)]) == 0
    told = capsys.readouterr().out
    assert "a@v is better than b@v by 0.1000" in told
    assert "has no" not in told


def test_where_no_record_has_the_metric_the_reason_is_said(make, tmp_path, capsys):
    for options in ({}, {"extractor": "x"}):
        written(tmp_path, cell(make("a"), options, without=["ssim_u7"]))
    written(tmp_path, make("b"))
    assert invoke(["compare", "a", "b", "--metric", "ssim_u7", "--results", str(tmp_path)]) == 0
    assert "cannot be compared: a@v has no ssim_u7" in capsys.readouterr().out


def test_of_several_records_with_the_metric_the_newest_is_taken_and_named(make, tmp_path):
    old = written(tmp_path, cell(make("a"), {"x": "1"}, "2026-01-01T00:00:00Z"))
    new = written(tmp_path, cell(make("a"), {"x": "2"}, "2026-02-01T00:00:00Z"))
    other = written(tmp_path, make("b"))
    for records in ([old, new], [new, old]):
        (place,) = places({"a@v": records, "b@v": [other]})
        about = topic(place, Column("psnr"))
        assert about.stored["a@v"] is new
        (note,) = about.notes
        assert f"a@v has 2 such records: taken is {new.path.name} of 2026-02-01" in note


def test_a_newer_record_of_another_definition_or_a_stale_one_is_not_taken(make, tmp_path):
    old = written(tmp_path, cell(make("a"), {"x": "1"}, "2026-01-01T00:00:00Z"))
    other = cell(make("a", definition=1), {"x": "2"}, "2026-02-01T00:00:00Z")
    stale = cell(make("a", status="stale"), {"x": "3"}, "2026-03-01T00:00:00Z")
    records = [old, written(tmp_path, other), written(tmp_path, stale)]
    (place,) = places({"a@v": records, "b@v": [written(tmp_path, make("b"))]})
    assert topic(place, Column("psnr")).stored["a@v"] is old


@pytest.mark.parametrize("status", ["suspect", "stale", "partial"])
def test_the_status_of_a_record_stands_beside_its_name(make, tmp_path, status):
    good = Stored(tmp_path / "b.json", make("b", psnr=20.0))
    bad = Stored(tmp_path / "a.json", make("a", psnr=30.0, status=status))
    (place,) = places({"a@v": [bad], "b@v": [good], "c@v": [good]})
    compared = matrices(place, ["psnr"])
    told = text_report(compared)
    assert f"- a@v ({status}) is better than b@v by 10.00 dB" in told
    assert sum(line.startswith(f"a@v ({status}) ") for line in told.splitlines()) == 3
    assert f"Note: a@v is {status}" in told
    (found,) = facts(compared)
    assert found["statuses"] == {"a@v": status, "b@v": "ok", "c@v": "ok"}


def test_a_lifted_suspicion_is_told_with_its_note(make, tmp_path):
    record = make("a", status="suspect").model_copy(update={"status_lifted": "grey only"})
    table = {"a@v": [Stored(tmp_path / "a", record)], "b@v": [Stored(tmp_path / "b", make("b"))]}
    (place,) = places(table)
    about = topic(place, Column("psnr"))
    assert about.label("a@v") == "a@v (suspect, lifted)"
    assert about.notes == ["a@v is suspect, lifted: grey only"]


def test_withdrawn_records_are_not_compared(make, tmp_path, capsys):
    gone = make("a").model_copy(update={"status": "withdrawn", "status_reason": "wrong weights"})
    for record in (gone, make("b"), make("c")):
        written(tmp_path, record)
    assert invoke(["compare", "a", "b", "c", "--results", str(tmp_path)]) == 0
    told = capsys.readouterr().out
    assert "Note: a@v is withdrawn and not compared: wrong weights." in told
    assert told.count("a@v") == 1
    assert invoke(["compare", "a", "b", "--results", str(tmp_path)]) == 2
    assert "a@v is withdrawn and not compared: wrong weights" in capsys.readouterr().err


def test_a_record_that_maintainers_withdrew_is_not_compared(make, tmp_path):
    stored = {name: [written(tmp_path, make(name))] for name in "ab"}
    key = record_key(stored["a"][0].record)
    (tmp_path / "marks.yaml").write_text(
        f'{key}: {{mark: withdrawn, by: M, date: "2026-01-01", reason: leaked test images}}\n'
    )
    with pytest.raises(UsageError, match="a is withdrawn and not compared: leaked test images"):
        places(stored)


def test_a_note_that_holds_for_several_metrics_is_said_once(make, tmp_path):
    bad = Stored(tmp_path / "a", make("a", status="suspect"))
    (place,) = places({"a@v": [bad], "b@v": [Stored(tmp_path / "b", make("b"))]})
    told = text_report(matrices(place, ["psnr", "ssim"]))
    assert told.count("Note: a@v is suspect") == 1

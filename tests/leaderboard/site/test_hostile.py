"""Records that were made to do harm neither execute, nor break the build, nor go unreported."""

from __future__ import annotations

import copy
import csv
import json

import pytest

from medbench.leaderboard.site.build import build_site

SCRIPT = '<script>alert("x")</script>'


@pytest.fixture
def folder(tmp_path, record_data, store):
    folder = tmp_path / "results"
    store(folder, record_data("honest", psnr=31.0))
    return folder


def built(folder):
    return build_site(folder, folder.parent / "site")


def pages(site):
    return {p: p.read_text(encoding="utf-8") for p in site.rglob("*.html")}


@pytest.mark.parametrize("text", [SCRIPT, '"><img src=x onerror=alert(1)>', "{{ 7*7 }}", "a' b"])
def test_names_and_texts_are_shown_and_never_executed(folder, record_data, store, text):
    data = record_data("evil", command=text, status="suspect", status_reason=text)
    data["warnings"] = [text]
    data["info"] |= {"source": text, "weights_licence": text, "name": text}
    data["tokenizer"] = text
    data["dataset"]["licence"] = text
    store(folder, data)
    report = built(folder)
    assert report.problems == []
    assert report.records == 2
    for path, page in pages(report.output).items():
        assert "<script>alert" not in page, path
        assert "<img src=x" not in page, path
        assert ">49<" not in page, path
    for path in report.output.rglob("*"):
        assert path.resolve().is_relative_to(report.output.resolve())


def test_a_script_in_data_for_scripts_stays_a_string(folder, record_data, store):
    data = record_data("x</script>\u2028<script>")
    store(folder, data)
    site = built(folder).output
    for path in (site / "data").glob("*.js"):
        text = path.read_text(encoding="utf-8")
        assert text.isascii()
        json.loads(text.partition(" = ")[2].rstrip().rstrip(";"))


@pytest.mark.parametrize(
    "name", ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "=HYPERLINK(1)"]
)
def test_no_cell_of_the_csv_is_a_formula(folder, record_data, store, name):
    data = record_data(name)
    data["metrics"][0]["flags"] = [name]
    store(folder, data)
    (path,) = (built(folder).output / "data").glob("*.csv")
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert f"'{name}@v" in {row["tokenizer"] for row in rows}
    assert f"'{name}" in {row["flags"] for row in rows}
    for row in rows:
        for cell in row.values():
            try:
                float(cell)
            except ValueError:
                assert not cell.startswith(("=", "+", "-", "@", "\t", "\r"))


def _nan(data):
    data["metrics"][0]["value"] = float("nan")


def _nan_replicate(data):
    next(m for m in data["metrics"] if m.get("replicates"))["replicates"][5] = float("nan")


def _huge(data):
    next(m for m in data["metrics"] if m["name"] == "rfd_random" and m["group"] == "ct").update(
        value=1e308, low=-1e308, high=1e308, reason=None
    )


def _unknown_key(data):
    data["award"] = "best paper"


def _wrong_hash(data):
    data["metrics"][0]["definition_hash"] = "0" * 16


def _escaping_gallery(data):
    data["gallery"] = [{"id": "x", "group": "ct", "file": "../../secret.png", "why": "pick"}]


def _escaping_task(data):
    data["task"] = "../../etc"


@pytest.mark.parametrize(
    "harm",
    [_nan, _nan_replicate, _huge, _unknown_key, _wrong_hash, _escaping_gallery, _escaping_task],
)
def test_a_record_that_cannot_be_so_is_refused_and_named(folder, record_data, store, harm):
    data = record_data("evil")
    path = store(folder, copy.deepcopy(data))
    harm(data)
    path.write_text(json.dumps(data))
    report = built(folder)
    assert report.records == 1
    (problem,) = report.problems
    assert problem.path == path
    text = (report.output / "changes.html").read_text(encoding="utf-8")
    assert path.name in text
    assert str(folder.parent) not in text
    assert "1 file was refused" in (report.output / "index.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b"[" * 100_000, b'"x"'])
def test_a_file_that_is_no_record_is_refused_and_named(folder, content):
    path = folder / "recon" / "medsynth" / "broken@v" / "00000000.json"
    path.parent.mkdir()
    path.write_bytes(content)
    report = built(folder)
    assert [problem.path for problem in report.problems] == [path]
    assert report.records == 1


def test_a_record_in_a_foreign_place_is_refused_so_that_none_counts_twice(folder):
    (path,) = folder.glob("*/*/*/*.json")
    for place in ("recon/medsynth/other@v", "recon/else/honest@v", "probe/medsynth/honest@v"):
        copied = folder / place / path.name
        copied.parent.mkdir(parents=True, exist_ok=True)
        copied.write_bytes(path.read_bytes())
    report = built(folder)
    assert report.records == 1
    assert len(report.problems) == 3
    assert all("wrong place" in problem.reason for problem in report.problems)


def test_only_hostile_records_still_give_a_site_that_says_so(tmp_path):
    path = tmp_path / "results" / "recon" / "medsynth" / "x@v" / "00000000.json"
    path.parent.mkdir(parents=True)
    path.write_text("{}")
    report = built(tmp_path / "results")
    assert report.records == 0
    assert "1 file was refused" in (report.output / "index.html").read_text(encoding="utf-8")

"""Records that are damaged or hostile are refused one by one; the others load."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from medbench.__main__ import invoke
from medbench.harness.errors import UsageError
from medbench.harness.record_files import load_record, read_results, slug

TEMPLATE = Path(__file__).parent.parent / "records" / "v1_recon.json"


def write(folder, data, *, name="meditok@tiny", key="00000001"):
    path = folder / "recon" / "medsynth" / name / f"{key}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(data if isinstance(data, str) else json.dumps(data))
    return path


@pytest.fixture
def good():
    return json.loads(TEMPLATE.read_text())


def with_metric(data, **fields):
    metrics = [dict(metric) for metric in data["metrics"]]
    chosen = next(i for i, m in enumerate(metrics) if m["replicates"])
    metrics[chosen] |= fields
    return data | {"metrics": metrics}


def with_part(data, part, **fields):
    return data | {part: data[part] | fields}


HOSTILE = {
    "nan": (lambda d: with_metric(d, value=float("nan")), "finite"),
    "infinite end": (lambda d: with_metric(d, high=float("inf")), "finite"),
    "nan replicate": (lambda d: with_metric(d, replicates=[1.0, float("nan")]), "finite"),
    "huge replicate": (lambda d: with_metric(d, replicates=[1.0, 1e308]), "less than or equal"),
    "huge end": (lambda d: with_metric(d, high=1e308), "less than or equal"),
    "huge value of any range": (
        lambda d: with_metric(d, name="kid", value=1e308, low=None, high=None),
        "implausibly large",
    ),
    "huge value": (lambda d: with_metric(d, value=1e308), "outside 0.0..100.0"),
    "turned interval": (lambda d: with_metric(d, low=30.0, high=20.0), "interval from 30.0"),
    "negative n": (lambda d: with_metric(d, n=-1), "n: .*greater than or equal to 0"),
    "unknown key": (lambda d: d | {"rank": 1}, "Extra inputs"),
    "unknown metric key": (lambda d: with_metric(d, star=1), "Unexpected keyword"),
    "wrong hash": (lambda d: with_metric(d, definition_hash="0" * 16), "definition hash"),
    "task as path": (lambda d: d | {"task": "../../etc"}, "is not a name"),
    "tokenizer as path": (lambda d: d | {"tokenizer": "../../etc"}, "is a path"),
    "control characters": (lambda d: d | {"tokenizer": "a\nb"}, "control characters"),
    "rows elsewhere": (lambda d: d | {"per_image": "../../secret.parquet"}, "leads out"),
    "rows at the root": (lambda d: d | {"per_image": "/etc/passwd"}, "leads out"),
    "picture elsewhere": (
        lambda d: d | {"gallery": [{"id": "a", "group": "ct", "file": "../x.png", "why": "pick"}]},
        "leads out",
    ),
    "other weights": (lambda d: with_part(d, "identity", weights_sha256="0" * 64), "weights"),
    "other images": (
        lambda d: with_part(d, "identity", data_fingerprint="0" * 64),
        "data fingerprints",
    ),
    "other name": (lambda d: with_part(d, "info", name="unitok"), "info names unitok@tiny"),
    "not json": (lambda d: "{", "not a readable JSON"),
    "deep json": (lambda d: "[" * 100_000, "not a readable JSON|not a valid record"),
    "list": (lambda d: [], "not a medbench record"),
}


@pytest.mark.parametrize("case", HOSTILE, ids=lambda case: case.replace(" ", "-"))
def test_a_hostile_record_is_reported_and_the_others_load(tmp_path, good, case):
    make, message = HOSTILE[case]
    kept = write(tmp_path, good)
    bad = write(tmp_path, make(good), name="other@tiny")
    found = read_results(tmp_path)
    assert [stored.path for stored in found.stored] == [kept]
    ((problem),) = found.problems
    assert problem.path == bad
    assert str(bad) in str(problem)
    with pytest.raises(UsageError, match=message):
        load_record(bad)


def test_a_cell_that_occurs_twice_counts_once(tmp_path, good):
    from medbench.leaderboard.trust import record_key

    copy = write(tmp_path, good, name="a-copy@tiny")
    own = tmp_path / f"{record_key(load_record(copy))}.json"
    write(tmp_path, good, key=own.stem)
    found = read_results(tmp_path)
    assert [stored.path for stored in found.stored] == [own]
    assert [problem.path for problem in found.problems] == [copy]
    assert "the same cell" in str(found.problems[0])


def test_a_file_that_is_too_large_is_not_read(tmp_path, good):
    path = write(tmp_path, good)
    with path.open("ab") as file:
        file.truncate(33 << 20)
    with pytest.raises(UsageError, match="at most 33,554,432 are read"):
        load_record(path)


@pytest.mark.parametrize("name", ["..", "../..", ".", "", ".hidden", "a/../../b", "C:\\x", "\0"])
def test_a_slug_is_one_plain_folder(name):
    plain = slug(name)
    assert plain
    assert not plain.startswith(".")
    assert not set(plain) & set("/\\:\0")


def test_the_leaderboard_names_what_it_leaves_out(tmp_path, good, capsys):
    write(tmp_path, good)
    bad = write(tmp_path, "{", name="other@tiny")
    page = tmp_path / "BOARD.md"
    assert invoke(["leaderboard", "--results", str(tmp_path), "--output", str(page)]) == 4
    assert f"left out: {bad}" in capsys.readouterr().err
    assert "meditok@tiny" in page.read_text()


def test_names_cannot_inject_markup(tmp_path, good):
    name = "<script>alert(1)</script>`|x"
    write(tmp_path, with_part(good, "info", name=name) | {"tokenizer": name})
    page = tmp_path / "BOARD.md"
    assert invoke(["leaderboard", "--results", str(tmp_path), "--output", str(page)]) == 0
    rows = [line for line in page.read_text().splitlines() if line.startswith("|")]
    assert not any("<script>" in line for line in rows)

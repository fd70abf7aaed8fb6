from __future__ import annotations

import csv
import io
import json
import pickle
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from medbench.harness.cache import contents
from medbench.harness.datasets.dataset import Item
from medbench.harness.datasets.images import Decoded
from medbench.harness.datasets.kept_rows import KeptItems
from medbench.harness.datasets.long_lists import long_list
from medbench.harness.errors import MedbenchError, MissingPrerequisite, UsageError
from medbench.harness.registry import load_dataset

GOOD = [
    {"path": "a.png", "modality": "CT", "caption": "a \ud55c", "label": "x", "split": "train"},
    {"path": "b.png", "modality": "x-ray", "patient": "7", "mask": "a.png", "split": "train"},
    {"path": "c.png", "modality": "ct", "ct_bias": 1024, "id": "deep", "split": "test"},
]
BAD = [
    {"path": "a.png", "modality": "ct", "split": "train"},
    {"path": "d.png", "modality": "cat", "split": "test"},
    {"path": "../e.png", "modality": "mri", "split": "train"},
]


@pytest.fixture
def folder(tmp_path) -> Path:
    for level, name in enumerate("ab"):
        Image.new("L", (20, 20), level).save(tmp_path / f"{name}.png")
    Image.fromarray(np.full((20, 20), 1524, np.uint16)).save(tmp_path / "c.png")
    table = pd.DataFrame([*GOOD, *BAD])
    table.to_csv(tmp_path / "t.csv", index=False)
    table.to_parquet(tmp_path / "t.parquet")
    lines = [json.dumps(row) for row in (*GOOD, *BAD)]
    (tmp_path / "t.jsonl").write_text("\n".join([*lines[:2], "no json", *lines[2:]]))
    with tarfile.open(tmp_path / "t.tar", "w") as archive:
        for row in GOOD:
            image = (tmp_path / row["path"]).read_bytes()
            side = json.dumps({k: v for k, v in row.items() if k != "path"}).encode()
            for suffix, data in {"png": image, "json": side}.items():
                info = tarfile.TarInfo(f"{row['path'][0]}.{suffix}")
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
        archive.addfile(tarfile.TarInfo("e.json"))
    return tmp_path


def kept(reference: str) -> KeptItems:
    items = long_list(reference, data_root=None)
    assert isinstance(items, KeptItems)
    return items


def told(item: Item) -> list:
    """All that an item says, shows or refuses with."""
    try:
        shown: Decoded | str = item.load()
    except MedbenchError as error:
        shown = str(error)
    pixels = shown if isinstance(shown, str) else shown.rgb.tolist()
    deep = None if isinstance(shown, str) or shown.intensities is None else shown.intensities
    mask = item.load_mask().tolist() if item.load_mask else None
    facts = [item.id, item.group, item.label, item.patient, item.caption, item.content_key()]
    return [*facts, mask, pixels, None if deep is None else deep.tolist()]


@pytest.mark.parametrize(
    "reference",
    [
        *("manifest:{}/t.csv", "manifest:{}/t.parquet", "manifest@train:{}/t.csv"),
        *("jsonl:{}/t.jsonl", "jsonl@test:{}/t.jsonl", "wds:{}/t.tar", "wds@mri:{}/t.tar"),
    ],
)
def test_kept_items_are_those_of_the_data_set_here_and_in_another_process(
    folder, reference
) -> None:
    reference = reference.format(folder)
    expected = [told(item) for item in load_dataset(reference).items()]
    items = kept(reference)
    assert [told(item) for item in items] == expected
    assert [told(item) for item in pickle.loads(pickle.dumps(items))] == expected
    assert told(items[-1]) == expected[-1]
    assert [told(item) for item in items[1:3]] == expected[1:3]
    with pytest.raises(IndexError):
        items[len(expected)]


def test_other_readers_are_left_alone(folder) -> None:
    assert long_list("medsynth@val", data_root=None) is None
    assert long_list(f"folder:{folder}", data_root=None) is None


def test_a_list_is_read_once_and_again_when_it_changed_or_its_rows_are_damaged(
    folder, monkeypatch
) -> None:
    reference = f"manifest:{folder / 't.csv'}"
    items = kept(reference)
    place = items.rows.folder
    assert [each.path for each in contents().of("lists") if each.path == place] == [place]
    written = (place / "rows.jsonl").stat().st_mtime_ns
    assert kept(reference).rows.folder == place
    assert (place / "rows.jsonl").stat().st_mtime_ns == written
    whole = (place / "rows.jsonl").read_bytes()
    (place / "rows.jsonl").write_bytes(whole.replace(b"a.png", b"q.png"))
    assert kept(reference)[0].id == "a.png"
    pd.DataFrame([{"path": "b.png", "modality": "ultrasound"}, *GOOD]).to_csv(
        folder / "t.csv", index=False
    )
    assert len(kept(reference)) == 4


def test_a_bias_is_that_of_ct_rows_that_state_none(folder) -> None:
    rows = [
        {"path": "c.png", "modality": "ct", "id": "none"},
        {"path": "c.png", "modality": "ct", "id": "own", "ct_bias": 524},
        {"path": "a.png", "modality": "ct", "id": "zero", "ct_bias": 0},
        {"path": "a.png", "modality": "mri", "id": "mri"},
    ]
    pd.DataFrame(rows).astype({"ct_bias": "Int64"}).to_csv(folder / "bias.csv", index=False)
    items = long_list(f"manifest:{folder / 'bias.csv'}", data_root=None, ct_bias=1024)
    assert items is not None
    shown = {item.id: item.load() for item in items}
    for name, units in {"none": 500, "own": 1000}.items():
        np.testing.assert_array_equal(shown[name].intensities, np.full((20, 20), units))
    assert shown["zero"].intensities is None
    assert np.unique(shown["zero"].rgb).tolist() == np.unique(shown["mri"].rgb).tolist() == [0]


@pytest.mark.parametrize(
    ("content", "variant", "message"),
    [
        ("path,modality\n", "", "no rows"),
        ("file,modality\na.png,ct\n", "", "column 'path' is missing"),
        ("path,modality\na.png,cat\n", "", "none of the 1 can be used: .*'cat' is not a modality"),
        ("path,modality,split\na.png,ct,x\n", "@y", "no row has split 'y'; found: x"),
    ],
)
def test_a_list_of_nothing_is_refused_and_not_kept(tmp_path, content, variant, message) -> None:
    (tmp_path / "t.csv").write_text(content)
    reference = f"manifest{variant}:{tmp_path / 't.csv'}"
    for _ in range(2):  # the second time too: nothing was kept
        with pytest.raises(UsageError, match=message):
            kept(reference)
    with pytest.raises(MissingPrerequisite, match="absent"):
        kept("manifest:absent.csv")


ASKED = """
import pickle, random, sys
import numpy as np
from medbench.harness.training.sources import datasets, pixels
from medbench.harness.training.sources.datasets import ListedSource

def resident():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("RssAnon")) * 1024

source = pickle.load(open(sys.argv[1], "rb"))
np.random.default_rng([0, 0, 1]).permutation(9)  # what the first draw imports
before = resident()
order = source._order(0)
for place in random.Random(0).sample(range(source.size), 5000):
    source._items[int(order[place])]
print((resident() - before) / source.size)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_long_list_costs_a_worker_bytes_per_image_and_is_sent_as_its_name(tmp_path) -> None:
    from medbench.harness.training.sources.build import build_source

    count = 100_000
    with (tmp_path / "t.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["identifier", "caption", "modality", "dataset_name"])
        for k in range(count):
            table.writerow([f"images/{k:09d}.png", f"Film {k}, clear lungs.", "xray", "d"])
    terms = {"kind": "dataset", "dataset": f"manifest:{tmp_path / 't.csv'}", "caption": "caption"}
    whole = build_source(terms, seed=0, cache=tmp_path)
    assert len(pickle.dumps(whole)) < 10_000
    source = build_source({**terms, "subset": count - 1}, seed=0, cache=tmp_path)
    sent = tmp_path / "source.pickle"
    sent.write_bytes(pickle.dumps(source))
    assert sent.stat().st_size < 10_000
    command = [sys.executable, "-c", ASKED, str(sent)]
    found = subprocess.run(command, check=True, capture_output=True, text=True)
    assert float(found.stdout) <= 50

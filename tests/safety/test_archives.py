"""Archives and tables that unpack to more than they say, or to other places."""

from __future__ import annotations

import contextlib
import io
import json
import struct
import tarfile
import tracemalloc
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

import medbench
from medbench.harness.parquet import read_table
from medbench.harness.weights import read_state_dict

RECORDS = Path(__file__).parents[1] / "records"
MOST_BYTES = 300 << 20
"""Memory that a refusal may take."""


def png(seed=0):
    file = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(1, 256, (16, 16), dtype=np.uint8)
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


@contextlib.contextmanager
def lean():
    """Fails where a refusal takes much memory."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < MOST_BYTES
    finally:
        tracemalloc.stop()


def read_all(reference):
    def read():
        for item in medbench.load_dataset(reference).items():
            item.content_key()
            item.load()

    return read


# --- zip: arrays and checkpoints


def deflated_npy(rows):
    header = io.BytesIO()
    facts = {"descr": "|u1", "fortran_order": False, "shape": (rows, 64, 64)}
    np.lib.format.write_array_header_1_0(header, facts)
    return header.getvalue()


def npz_bomb(path, rows):
    """Zeros without end: a thousandth of what they unpack to."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        with archive.open("test_images.npy", "w", force_zip64=True) as member:
            member.write(deflated_npy(rows))
            for _ in range(rows // 256):
                member.write(bytes(256 * 64 * 64))
        archive.writestr("test_labels.npy", bytes(10))


def test_a_deflated_array_of_a_thousand_times_its_size(tmp_path, attempt):
    path = tmp_path / "bomb.npz"
    npz_bomb(path, 65_536)
    assert path.stat().st_size < 1 << 20
    with lean():
        attempt(read_all(f"npz@ct:{path}"), names=path)


@pytest.mark.parametrize("shape", ["(1099511627776, 64, 64)", "(-1, 64, 64)", "(2**62,)", "[1]"])
def test_a_header_of_terabytes(tmp_path, attempt, shape):
    path = tmp_path / "liar.npz"
    text = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}}}".ljust(117) + "\n"
    head = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode()
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("test_images.npy", head + bytes(99))
        archive.writestr("test_labels.npy", head + bytes(99))
    with lean():
        attempt(read_all(f"npz@ct:{path}"), names=path)


@pytest.mark.parametrize("name", ["../../executed", "/tmp/executed.npy", "..\\executed.npy"])
def test_members_that_climb_are_never_unpacked(tmp_path, attempt, name):
    path = tmp_path / "climbs.npz"
    np.savez(path, test_images=np.ones((1, 16, 16), np.uint8), test_labels=np.zeros((1, 1), int))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(name, b"x")
        archive.writestr(f"{name}.npy", b"x")
    before = set(tmp_path.rglob("*"))
    attempt(read_all(f"npz@ct:{path}"), names=path, refused=False)
    assert set(tmp_path.rglob("*")) == before


def test_a_checkpoint_whose_tensors_are_deflated_zeros(tmp_path, attempt):
    good, path = io.BytesIO(), tmp_path / "bomb.pt"
    torch.save({"w": torch.zeros(32 << 20)}, good)
    with zipfile.ZipFile(good) as old, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for member in old.infolist():
            new.writestr(member.filename, old.read(member))
    del good
    assert path.stat().st_size < 1 << 20
    with lean():
        attempt(lambda: read_state_dict(path), names=path)


def test_a_checkpoint_whose_members_lie_upon_each_other(tmp_path, attempt):
    """A directory that names one member a thousand times."""
    path = tmp_path / "overlap.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", b"\x80\x02}.")
        archive.writestr("a/data/0", bytes(1 << 20))
        member = archive.infolist()[1]
        for number in range(1000):
            copy = zipfile.ZipInfo(f"a/data/{number + 1}")
            for field in ("header_offset", "CRC", "compress_size", "file_size"):
                setattr(copy, field, getattr(member, field))
            archive.filelist.append(copy)
            archive.NameToInfo[copy.filename] = copy
    attempt(lambda: read_state_dict(path), names=path)


# --- tar


def members():
    def member(name, kind=tarfile.REGTYPE, size=0, link="", pax=None):
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, link
        info.pax_headers = pax or {}
        info.size = size
        return info

    return {
        "up": member("../../executed.png"),
        "at the root": member("/executed.png"),
        "backslash": member("..\\executed.png"),
        "symbolic link": member("link.png", tarfile.SYMTYPE, link="/etc/passwd"),
        "hard link": member("hard.png", tarfile.LNKTYPE, link="../../etc/passwd"),
        "device": member("null.png", tarfile.CHRTYPE),
        "pipe": member("pipe.png", tarfile.FIFOTYPE),
        "sparse": member("sparse.png", tarfile.GNUTYPE_SPARSE),
        "terabytes": member("huge.png", size=1 << 42),
        "sparse by words": member(
            "s.png", pax={"GNU.sparse.size": str(1 << 50), "GNU.sparse.map": "0,1"}
        ),
        "a size in words": member("p.png", pax={"size": str(1 << 60)}),
        "a name of a megabyte": member("x" * (1 << 20) + ".png"),
        "no text": member("\udcff.png"),
    }


@pytest.mark.parametrize("case", members())
def test_a_member_of_a_shard_that_is_not_what_it_seems(tmp_path, attempt, case):
    path = tmp_path / "shard.tar"
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        good = tarfile.TarInfo("good.png")
        good.size = len(png())
        archive.addfile(good, io.BytesIO(png()))
        archive.addfile(members()[case])
    before = set(tmp_path.rglob("*"))
    with lean():
        attempt(read_all(f"wds@ct:{path}"), names=path, refused=False)
    assert medbench.load_dataset(f"wds@ct:{path}").items()[0].id.endswith("good")
    assert set(tmp_path.rglob("*")) == before


def test_a_shard_of_thousands_of_members_of_one_name(tmp_path, attempt):
    path = tmp_path / "many.tar"
    block = tarfile.TarInfo("a.png").tobuf()
    path.write_bytes(block * 5_000 + bytes(1024))
    with lean():
        attempt(read_all(f"wds@ct:{path}"), names=path)


@pytest.mark.parametrize("compressed", ["gz", "bz2", "xz"])
def test_a_compressed_shard_is_not_unpacked(tmp_path, attempt, compressed):
    path = tmp_path / "shard.tar"
    with tarfile.open(path, f"w:{compressed}") as archive:
        info = tarfile.TarInfo("a.png")
        info.size = 64 << 20
        archive.addfile(info, io.BytesIO(bytes(info.size)))
    with lean():
        attempt(read_all(f"wds@ct:{path}"), names=path)


@pytest.mark.parametrize(
    "content", [b"[" * 100_000, b'{"a":' * 9_000, b'{"modality": 1e999}', b"\xff"]
)
def test_side_files_of_a_sample(tmp_path, attempt, content):
    path = tmp_path / "shard.tar"
    with tarfile.open(path, "w") as archive:
        for name, data in (("a.png", png()), ("a.json", content)):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    attempt(read_all(f"wds@ct:{path}"), names=path, refused=False)


# --- Parquet: a few kilobytes that stand for any number of rows


def parquet(path, columns):
    pq.write_table(pa.table(columns), path, compression="zstd", store_schema=False)
    return path


def test_rows_without_end(tmp_path, attempt):
    blanks = pa.nulls(30_000_000, pa.string())
    path = parquet(tmp_path / "rows.parquet", {f"c{n}": blanks for n in range(10)})
    assert path.stat().st_size < 1 << 20
    with lean():
        attempt(lambda: read_table(path), names=path)


@pytest.mark.parametrize(
    "options", [{}, {"use_dictionary": False, "column_encoding": "DELTA_BYTE_ARRAY"}]
)
def test_one_long_text_in_every_row(tmp_path, attempt, monkeypatch, options):
    monkeypatch.setattr("medbench.harness.parquet.LARGEST_TABLE_BYTES", 1 << 26)
    path = tmp_path / "long.parquet"
    text = pa.DictionaryArray.from_arrays(
        pa.array(np.zeros(700, np.int32)), pa.array(["x" * (1 << 17)])
    )
    table = pa.table({"path": text, "modality": text})
    if options:
        table = pa.table({name: table[name].cast(pa.string()) for name in table.column_names})
    pq.write_table(table, path, compression="zstd", store_schema=False, **options)
    del table
    assert path.stat().st_size < 1 << 21
    attempt(lambda: read_table(path), names=path)


@pytest.mark.parametrize("name", ["text", "a.text"])
def test_values_that_are_prefixes_of_each_other_are_unpacked_in_small_blocks(
    tmp_path, monkeypatch, name
):
    monkeypatch.setattr("medbench.harness.parquet._BLOCK_BYTES", 1 << 18)
    rows = []

    def measured(column):
        rows.append(len(column))
        return column.nbytes

    monkeypatch.setattr("medbench.harness.parquet._unpacked_bytes", measured)
    path, encoding = tmp_path / "long.parquet", {"column_encoding": "DELTA_BYTE_ARRAY"}
    text = pa.array(["x" * (1 << 16)] * 50, pa.large_string())
    pq.write_table(pa.table({name: text}), path, use_dictionary=False, **encoding)
    assert read_table(path).shape == (50, 1)
    assert max(rows) <= 4


def test_statistics_that_contradict_their_column_do_not_end_the_process(attempt):
    # The third column's histogram has two bins and should have one: a byte of a valid file changed.
    path = Path(__file__).with_name("contradicting_statistics.parquet")
    message = attempt(lambda: read_table(path), names=path)
    assert "histogram size mismatch" in message


def test_text_that_is_no_utf8(tmp_path, attempt):
    broken = pa.array([b"a.png", b"a.p\xffg"]).view(pa.string())
    modality = ["ct", "ct"]
    path = parquet(tmp_path / "bytes.parquet", {"path": broken, "modality": modality})
    message = attempt(read_all(f"manifest:{path}"), names=path)
    assert "UTF8" in message


@pytest.mark.parametrize(
    "columns",
    [
        {"id": [[1]], "group": ["ct"]},
        {"id": [{"a": 1}], "group": ["ct"]},
        {"id": [b"\xff"], "group": ["ct"]},
        {"id": ["a"], "group": [None]},
        {"id": pa.array([1], pa.timestamp("ns")), "group": ["ct"]},
        {"id": pa.array(["a"]).dictionary_encode(), "group": pa.array(["a"]).dictionary_encode()},
    ],
    ids=["lists", "structures", "bytes", "null", "times", "categories"],
)
def test_rows_of_a_record_of_other_kinds(tmp_path, attempt, columns):
    from medbench.harness.record_files import load_record
    from medbench.leaderboard.submission import check_submission
    from medbench.leaderboard.trust import record_key

    template = json.loads((RECORDS / "v1_recon.json").read_text())
    path = tmp_path / "recon" / "medsynth" / "x@y" / "00000001.json"
    path.parent.mkdir(parents=True)
    template["per_image"] = "00000001.parquet"
    path.write_text(json.dumps(template))
    parquet(path.with_suffix(".parquet"), columns)
    assert record_key(load_record(path))
    attempt(lambda: check_submission(tmp_path), names="", refused=False)


def test_what_a_table_says_about_pandas_is_not_listened_to(tmp_path, attempt):
    facts = {
        "index_columns": [{"kind": "range", "name": None, "start": 0, "stop": 10**15, "step": 1}],
        "columns": [
            {"name": "a", "field_name": "a", "pandas_type": "object", "numpy_type": "evil"}
        ],
        "column_indexes": [],
    }
    table = pa.table({"a": [1, 2]}).replace_schema_metadata({"pandas": json.dumps(facts)})
    path = tmp_path / "a.parquet"
    pq.write_table(table, path)
    attempt(lambda: read_table(path), names=path, refused=False)
    assert len(read_table(path)) == 2


@pytest.mark.parametrize("kind", ["gz", "raw"])
def test_a_bomb_that_calls_itself_a_checkpoint(tmp_path, attempt, kind):
    data = zlib.compress(bytes(64 << 20), 9, wbits=31 if kind == "gz" else 15)
    path = tmp_path / "weights.pth"
    path.write_bytes(data)
    with lean():
        attempt(lambda: read_state_dict(path), names=path)

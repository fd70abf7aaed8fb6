from __future__ import annotations

import errno
import hashlib
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from medbench.harness.datasets import images as image_files
from medbench.harness.datasets import store as module
from medbench.harness.datasets.folder import build
from medbench.harness.datasets.store import ingest
from medbench.harness.errors import RunAgain, UsageError
from medbench.harness.registry import load_dataset


def make(path):
    return build(f"folder:{path}", argument=str(path))


def test_the_array_is_square_uint8_with_a_hash_per_image(image_folder):
    store = ingest(make(image_folder))
    assert store.images.shape == (6, 256, 256, 3)
    assert store.images.dtype == np.uint8
    for row, image in zip(store.rows, store.images, strict=True):
        assert hashlib.sha256(image.tobytes()).hexdigest() == row.sha256


def test_the_second_call_reads_the_cache(image_folder, monkeypatch):
    first = ingest(make(image_folder))
    monkeypatch.setattr(module, "_build", lambda *_: pytest.fail("built again"))
    assert ingest(make(image_folder)).fingerprint == first.fingerprint


def test_a_changed_image_changes_the_fingerprint(image_folder):
    before = ingest(make(image_folder)).fingerprint
    Image.new("RGB", (256, 256), (9, 9, 9)).save(image_folder / "ct" / "0.png")
    assert ingest(make(image_folder)).fingerprint != before


def test_the_fingerprint_does_not_depend_on_where_the_folder_lies(image_folder, tmp_path):
    before = ingest(make(image_folder)).fingerprint
    moved = shutil.copytree(image_folder, tmp_path / "elsewhere" / "images")
    assert ingest(make(moved)).fingerprint == before


def test_unreadable_images_are_listed_and_the_others_kept(image_folder):
    path = image_folder / "ct" / "1.png"
    path.write_bytes(path.read_bytes()[:200])
    store = ingest(make(image_folder))
    assert len(store) == 5 == len(store.images)
    assert [failure.id for failure in store.failures] == ["ct/1.png"]
    assert str(path) in store.failures[0].reason
    again = ingest(make(image_folder))
    assert again.fingerprint == store.fingerprint
    np.testing.assert_array_equal(again.read(0, 5), store.read(0, 5))


@pytest.fixture
def empty_cache(tmp_path, monkeypatch):
    """The cache of the session may hold the same images."""
    monkeypatch.setenv("MEDBENCH_CACHE", str(tmp_path / "cache"))


ERRORS = [OSError(number, os.strerror(number)) for number in (errno.EIO, errno.ESTALE)]


@pytest.mark.parametrize("reader", ["read_file", "_to_rgb"])
@pytest.mark.parametrize("error", [*ERRORS, MemoryError()], ids=str)
def test_a_passing_error_ends_the_ingest_and_drops_no_image(
    image_folder, empty_cache, monkeypatch, reader, error
):
    read = getattr(image_files, reader)

    def fail(name, *args):
        if str(name).endswith("ct/3.png"):
            raise error
        return read(name, *args)

    with monkeypatch.context() as patch:
        patch.setattr(image_files, reader, fail)
        with pytest.raises(RunAgain, match=r"images/ct/3\.png: cannot be read now"):
            ingest(make(image_folder))
    store = ingest(make(image_folder))
    assert (len(store), store.failures) == (6, ())


@pytest.mark.parametrize("error", [*ERRORS, MemoryError()], ids=str)
def test_so_does_one_that_no_reader_catches(image_folder, empty_cache, monkeypatch, error):
    with monkeypatch.context() as patch:
        patch.setattr(image_files.Decoded, "square", lambda *_: (_ for _ in ()).throw(error))
        with pytest.raises(RunAgain, match=r"ct/0\.png: cannot be read now"):
            ingest(make(image_folder))
    assert len(ingest(make(image_folder))) == 6


@pytest.mark.parametrize("step", ["_read_manifest", "file_sha256", "StoredRows"])
def test_a_finished_cache_outlives_a_passing_error(image_folder, monkeypatch, step):
    before = ingest(make(image_folder)).path.stat()

    def fail(*_):
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    with monkeypatch.context() as patch:
        patch.setattr(module, step, fail)
        with pytest.raises(RunAgain, match="Cannot allocate memory"):
            ingest(make(image_folder))
    after = ingest(make(image_folder)).path.stat()
    # Not when it was last read.
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_only_unreadable_images_are_an_error_and_leave_no_cache(image_folder):
    for path in image_folder.rglob("*.png"):
        path.write_bytes(b"x")
    dataset = make(image_folder)
    with pytest.raises(UsageError, match="none of the 6 images can be read"):
        ingest(dataset)
    with pytest.raises(UsageError, match="none of the 6 images"):
        ingest(dataset)


def test_a_flipped_bit_in_the_cache_is_found_and_made_good(image_folder):
    store = ingest(make(image_folder))
    whole = store.read(0, 6)
    damaged = np.load(store.path / "images.npy", mmap_mode="r+")
    damaged[3, 100, 100, 1] ^= 1
    damaged.flush()
    store.read(0, 3)
    with pytest.raises(RunAgain, match=r"the image cache is damaged: 'ct/3\.png'"):
        store.read(0, 6)
    np.testing.assert_array_equal(ingest(make(image_folder)).read(0, 6), whole)


@pytest.fixture
def masked(image_folder, tmp_path):
    """Two images with masks and labels, as a table."""
    Image.fromarray(np.eye(200, dtype=np.uint8) * 255).save(tmp_path / "mask.png")
    rows = [f"{image_folder}/ct/{n}.png,ct,ill,{tmp_path}/mask.png" for n in (0, 0)]
    rows[1] = rows[1].replace("0.png", "1.png").replace(",ill,", ",well,").rpartition(",")[0] + ","
    (tmp_path / "table.csv").write_text("\n".join(["path,modality,label,mask", *rows]) + "\n")
    return load_dataset(f"manifest:{tmp_path / 'table.csv'}")


@pytest.mark.parametrize("name", ["images.npy", "masks.npy", "rows.jsonl", "manifest.json"])
@pytest.mark.parametrize("place", [0.1, 0.5, 0.9])
def test_every_file_of_an_ingest_folder_is_checked_before_use(masked, name, place):
    store = ingest(masked)
    before = (store.read(0, 2), np.array(store.masks), list(store.rows), store.fingerprint)
    path = store.path / name
    data = bytearray(path.read_bytes())
    data[int(place * len(data))] ^= 4
    path.write_bytes(data)
    again = ingest(masked)
    np.testing.assert_array_equal(again.read(0, 2), before[0])
    np.testing.assert_array_equal(again.masks, before[1])
    assert (list(again.rows), again.fingerprint) == before[2:]
    assert not again.masks[1].any()


def test_what_a_killed_ingest_began_is_removed(image_folder):
    path = ingest(make(image_folder)).path
    left = path.with_name(f".{path.name}.abc")
    path.rename(left)
    assert ingest(make(image_folder)).path == path
    assert not left.exists()


def test_a_full_disk_is_an_error_and_no_crash(image_folder, tmp_path):
    """Mapped files would end the process with SIGBUS; a limit on the size of files shows it."""
    script = (
        "import resource, signal, sys\n"
        "from medbench.harness.datasets.store import ingest\n"
        "from medbench.harness.registry import load_dataset\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))\n"
        "ingest(load_dataset(sys.argv[1]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, f"folder:{image_folder}"],
        env=os.environ | {"MEDBENCH_CACHE": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "cannot write the image cache" in done.stderr
    assert done.returncode == 1
    assert not list((tmp_path / "cache" / "images").iterdir())


def test_a_cache_that_cannot_be_written_is_named(image_folder, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MEDBENCH_CACHE", str(tmp_path / "file"))
    with pytest.raises(UsageError, match="cannot write the image cache"):
        ingest(make(image_folder))


def test_a_cache_inside_the_data_root_is_refused(image_folder, monkeypatch):
    monkeypatch.setenv("MEDBENCH_DATA", str(image_folder))
    monkeypatch.setenv("MEDBENCH_CACHE", str(image_folder / "cache"))
    with pytest.raises(UsageError, match="inside the data root"):
        ingest(make(image_folder))

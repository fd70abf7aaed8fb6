from __future__ import annotations

import builtins
import errno
import io
import os
from pathlib import Path

import pytest

from medbench.harness import weights_file
from medbench.harness.curation.thresholds import packaged_thresholds
from medbench.harness.curation.unit import Settings, Unit
from medbench.harness.curation.work import candidates
from medbench.harness.datasets.dicom import build as build_dicom
from medbench.harness.datasets.dicom_frame import read_header
from medbench.harness.datasets.images import decode_file
from medbench.harness.datasets.json_rows import iter_json_rows
from medbench.harness.datasets.npz_member import array_facts
from medbench.harness.datasets.sa_med2d import _read_list
from medbench.harness.datasets.tar_index import tar_index
from medbench.harness.errors import ExitCode, RunAgain, UsageError
from medbench.harness.file_hashes import file_sha256
from medbench.harness.passing import run_again_if_passing
from medbench.harness.registered import registered_variants
from medbench.harness.sealed import check_seal, seal
from medbench.harness.shards import read_arrays
from medbench.harness.training.checkpoint import load_latest
from medbench.harness.training.pool import Pool, PoolSpec
from medbench.harness.training.sources.prepared import _read
from medbench.harness.weights_file import read_content
from medbench.harness.weights_lock import original_sha256

PASSING = [OSError(number, os.strerror(number)) for number in (errno.EIO, errno.ESTALE)]
PASSING += [OSError(errno.ENOMEM, "Cannot allocate memory"), MemoryError()]


@pytest.mark.parametrize("error", PASSING, ids=str)
def test_a_passing_error_asks_for_the_same_command_and_names_file_and_reason(error):
    with pytest.raises(RunAgain, match=r"a/b\.png: cannot be read now \((Inp|St|Cannot|out of m)"):
        run_again_if_passing(error, Path("a/b.png"))
    assert RunAgain.exit_code == ExitCode.RUN_AGAIN == 75


def test_what_a_message_was_raised_from_counts_and_who_asks_already_is_not_asked_twice():
    wrapped = UsageError("damaged")
    wrapped.__cause__ = OSError(errno.EIO, "Input/output error")
    with pytest.raises(RunAgain, match="Input/output error"):
        run_again_if_passing(wrapped, "ct/3.png")
    own = RunAgain("its own words")
    own.__cause__ = wrapped
    with pytest.raises(RunAgain, match="^its own words$"):
        run_again_if_passing(own, "ct/3.png")


@pytest.mark.parametrize(
    "error",
    [
        FileNotFoundError(errno.ENOENT, "No such file"),
        PermissionError(errno.EACCES, "Permission denied"),
        OSError(errno.ENOSPC, "No space left on device"),
        OSError("image file is truncated"),
        ValueError("no json"),
    ],
    ids=str,
)
def test_an_error_of_the_file_itself_is_left_to_the_reader(error):
    run_again_if_passing(error, "ct/3.png")


def read_unit(path):
    settings = Settings("meditok", "folder", packaged_thresholds())
    list(candidates(Unit("set", path.name, "image", (str(path),), "ct"), settings))


def read_intensities(path):
    class Of:
        id = path.name
        load = staticmethod(lambda: decode_file(path))

    _read(Of, 32)  # type: ignore[arg-type]


READERS = {
    "a.png": decode_file,
    "hashed.png": file_sha256,
    "sealed.png": lambda path: check_seal(path, "weights"),
    "curated.png": read_unit,
    "prepared.png": read_intensities,
    "a.npz": array_facts,
    "shard.npz": read_arrays,
    "a.tar": tar_index,
    "a.dcm": read_header,
    "found.dcm": lambda path: build_dicom("dicom:x", argument=str(path)),
    "a.json": lambda path: list(iter_json_rows(path)),
    "list.json": _read_list,
    "a.pt": read_content,
    "a.safetensors": read_content,
    "latest.json": lambda path: load_latest(path.parent),
    "images.npy": lambda path: Pool(PoolSpec("textures", 3), path.parent).images,
    "rows.json": lambda path: Pool(PoolSpec("textures", 3), path.parent).rows,
    "weights.lock.json": lambda _: original_sha256(Path(__file__)),
    "registered/meditok/mine/variant.json": lambda _: registered_variants("meditok"),
}


@pytest.fixture
def failing(monkeypatch):
    """Makes every file of that name fail when it is opened."""

    def fail(name, error):
        opened = io.open

        def open_or_fail(file, *args, **options):
            if str(file).endswith(name):
                raise error
            return opened(file, *args, **options)

        monkeypatch.setattr(io, "open", open_or_fail)
        monkeypatch.setattr(builtins, "open", open_or_fail)

    return fail


@pytest.mark.parametrize("error", PASSING[1:3], ids=str)
@pytest.mark.parametrize("name", READERS)
def test_no_reader_takes_a_passing_error_for_damage(tmp_path, monkeypatch, failing, name, error):
    monkeypatch.setenv("MEDBENCH_WEIGHTS", str(tmp_path))
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"{}")
    seal(path)
    failing(path.name, error)
    with pytest.raises(RunAgain, match=f"{path.name}.*{error.strerror}"):
        READERS[name](path)
    assert path.exists()


@pytest.mark.parametrize(
    ("name", "reader"), [("a.pt", "_load_torch"), ("a.safetensors", "load_file")]
)
def test_weights_are_not_called_incomplete_for_it(tmp_path, monkeypatch, name, reader):
    def fail(*_, **__):
        raise PASSING[0]

    (tmp_path / name).write_bytes(b"content")
    monkeypatch.setattr(weights_file, reader, fail)
    with pytest.raises(RunAgain, match=rf"weights .*{name}: cannot be read now"):
        read_content(tmp_path / name)

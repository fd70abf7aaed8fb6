"""The command line as a user meets it: exit codes, messages, nothing half-written."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from medbench.__main__ import invoke
from medbench.harness import files
from medbench.harness.file_hashes import file_sha256


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def run(*arguments: str, dataset: Path | str = "sample", tokenizer: str = "mean") -> int:
    options = [
        "--tokenizer",
        tokenizer,
        "--task",
        "recon",
        "--dataset",
        str(dataset),
        "--limit",
        "1",
    ]
    return invoke(["run", *options, *arguments])


def results() -> list[str]:
    """Files that a reader would take for results."""
    found = [p for p in Path("results").rglob("*") if p.is_file() and ".work" not in p.parts]
    return sorted(p.as_posix() for p in found)


def test_run_prints_a_table_per_modality_and_writes_record_and_rows(capsys):
    assert run() == 0
    out = capsys.readouterr().out
    for word in ("mean@reference", "PSNR (dB) ↑", "fundus", "microscopy"):
        assert word in out
    kinds = {Path(name).suffix for name in results()}
    assert {".json", ".parquet", ".png"} == kinds
    assert not Path("results/.work/recon").exists() or not list(
        Path("results/.work").rglob("*.npz")
    )


def test_json_is_an_array_of_records(capsys):
    assert run("--json") == 0
    (record,) = json.loads(capsys.readouterr().out)
    assert {"tokenizer", "variant", "task", "dataset", "status", "metrics"} <= set(record)
    assert record["status"] == "ok"


def test_the_same_command_again_answers_from_the_record_without_torch(capsys):
    assert run() == 0
    before = {name: Path(name).stat().st_mtime_ns for name in results()}
    code = (
        "import sys; from medbench.__main__ import invoke; code = invoke(sys.argv[1:]); "
        "assert 'torch' not in sys.modules, 'torch was imported'; sys.exit(code)"
    )
    options = ["--tokenizer", "mean", "--task", "recon", "--dataset", "sample", "--limit", "1"]
    again = subprocess.run(
        [sys.executable, "-c", code, "run", *options], capture_output=True, text=True, check=False
    )
    assert again.returncode == 0, again.stderr
    assert "answered from the record" in again.stderr
    assert {name: Path(name).stat().st_mtime_ns for name in results()} == before


def test_force_measures_again_and_keeps_the_replaced_record():
    assert run() == 0
    (record,) = Path("results").rglob("*.json")
    assert run("--force") == 0
    assert record.is_file()
    assert record.with_suffix(".json.replaced").is_file()


def test_a_record_of_other_code_is_stale_until_forced(capsys):
    assert run() == 0
    (path,) = Path("results").rglob("*.json")
    path.write_text(path.read_text().replace('"code_version": "', '"code_version": "0.0.1-'))
    capsys.readouterr()
    assert run("--json") == 0
    (record,) = json.loads(capsys.readouterr().out)
    assert record["status"] == "stale"
    assert "--force" in record["status_reason"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--tokenizer", "medtok", "--task", "recon"], 2, "Did you mean: meditok"),
        (["--tokenizer", "meditok", "--task", "recno"], 2, "Did you mean: recon"),
        (
            ["--tokenizer", "mean", "--task", "recon", "--dataset", "smaple"],
            2,
            "Did you mean: sample",
        ),
        (["--tokenizer", "mean", "--task", "recon", "--dataset", "folder:nowhere"], 3, "not found"),
        (["--tokenizer", "mean", "--task", "recon", "--limit", "0"], 2, "--limit is 0"),
        (
            ["--tokenizer", "mean", "--task", "recon", "--batch-size", "many"],
            2,
            "--batch-size 'many'",
        ),
        (["--tokenizer", "mean", "--task", "recon", "--device", "gpu"], 2, "--device 'gpu'"),
        (["--tokenizer", "mean", "--task", "recon", "--config", "{"], 2, "not valid JSON"),
        (
            ["--tokenizer", "mean", "--tokenizer", "down8", "--task", "recon", "--label", "x"],
            2,
            "exactly one",
        ),
        (
            ["--tokenizer", "meditok@official", "--task", "recon"],
            3,
            "medbench weights fetch meditok@official",
        ),
        (["--tokenizer", "meditok@official", "--task", "recon"], 3, "meditok@tiny"),
        (["--task", "recon"], 2, "--tokenizer"),
    ],
)
def test_a_wrong_request_gets_its_code_a_message_and_writes_nothing(
    arguments, code, message, capsys
):
    if "--dataset" not in arguments:
        arguments = [*arguments, "--dataset", "sample"]
    assert invoke(["run", *arguments]) == code
    captured = capsys.readouterr()
    assert message in captured.err
    assert "Traceback" not in captured.err
    assert results() == []


def tiny_checkpoint() -> Path:
    from medbench.harness.tokenizer_registry import choose_tokenizer, weights_path

    path = weights_path(choose_tokenizer("meditok@tiny"))
    assert path is not None
    return path


def nan_checkpoint(path: Path) -> None:
    state = load_file(tiny_checkpoint())
    name = next(iter(state))
    state[name] = torch.full_like(state[name], float("nan"))
    save_file(state, path)


class Payload:
    def __reduce__(self):
        return (Path("was-run").touch, ())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: path.write_bytes(b""), "bad.pth"),
        (lambda path: path.write_bytes(b"junk" * 100), "bad.pth"),
        (lambda path: path.write_bytes(pickle.dumps(Payload())), "bad.pth"),
        (lambda path: torch.save({"state_dict": Payload()}, path), "bad.pth"),
        (lambda path: torch.save({"fc.weight": torch.zeros(3, 3)}, path), "meditok"),
        (nan_checkpoint, "not finite"),
        (lambda path: path.write_bytes(tiny_checkpoint().read_bytes()[:5000]), "bad.pth"),
    ],
    ids=["empty", "junk", "pickle", "code in a checkpoint", "other model", "nan", "truncated"],
)
def test_a_bad_checkpoint_is_refused_and_never_run(make, message, capsys):
    path = Path("bad.pth")
    make(path)
    assert run("--weights", str(path), tokenizer="meditok@tiny") == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert "Traceback" not in captured.err
    assert not Path("was-run").exists()
    assert results() == []


def test_own_weights_make_a_row_of_their_own(capsys):
    shutil.copy(tiny_checkpoint(), "mine.safetensors")
    assert (
        run("--weights", "mine.safetensors", "--label", "mine", "--json", tokenizer="meditok@tiny")
        == 0
    )
    (record,) = json.loads(capsys.readouterr().out)
    assert record["variant"] == "mine"
    assert record["identity"]["weights_sha256"] == file_sha256(Path("mine.safetensors"))


def test_an_empty_folder_is_a_usage_error(capsys):
    Path("empty").mkdir()
    assert run(dataset="folder:empty") == 2
    assert "no images" in capsys.readouterr().err


def test_unreadable_images_are_reported_counted_and_exit_with_4(image_folder, capsys):
    broken = image_folder / "ct" / "1.png"
    broken.write_bytes(broken.read_bytes()[:300])
    Image.new("RGB", (1, 1)).save(image_folder / "ct" / "tiny.png")
    Image.fromarray(np.zeros((64, 64), np.uint16)).save(image_folder / "ct" / "deep.png")
    options = ["--tokenizer", "mean", "--task", "recon", "--dataset", f"folder:{image_folder}"]
    assert invoke(["run", *options, "--json"]) == 4
    captured = capsys.readouterr()
    (record,) = json.loads(captured.out)
    assert record["status"] == "partial"
    assert {f["id"] for f in record["dataset"]["failed"]} == {
        "ct/1.png",
        "ct/tiny.png",
        "ct/deep.png",
    }
    for path in (broken, image_folder / "ct" / "tiny.png", image_folder / "ct" / "deep.png"):
        assert str(path) in captured.err
    assert record["dataset"]["n"] == 5


def test_palette_cmyk_and_alpha_images_are_scored_and_noted(image_folder, capsys):
    picture = Image.open(image_folder / "ct" / "0.png")
    picture.quantize(32).save(image_folder / "ct" / "palette.png")
    picture.convert("CMYK").save(image_folder / "ct" / "cmyk.tif")
    picture.convert("RGBA").save(image_folder / "ct" / "alpha.png")
    options = ["--tokenizer", "mean", "--task", "recon", "--dataset", f"folder:{image_folder}"]
    assert invoke(["run", *options, "--json"]) == 0
    (record,) = json.loads(capsys.readouterr().out)
    assert record["dataset"]["notes"] == {
        "palette resolved": 1,
        "CMYK converted to RGB": 1,
        "opaque alpha dropped": 1,
    }


def test_a_place_that_cannot_be_written_is_found_before_any_work(monkeypatch, capsys):
    Path("results").write_text("a file, where a directory is needed")
    monkeypatch.setattr("medbench.tasks.recon.task.ReconTask.run", lambda *_: pytest.fail("worked"))
    assert run() == 2
    assert "cannot write" in capsys.readouterr().err


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_output_directory_is_a_usage_error(capsys):
    Path("results").mkdir(mode=0o500)
    assert run() == 2
    assert "Permission denied" in capsys.readouterr().err


def test_a_full_disk_leaves_no_record(monkeypatch, capsys):
    """The device fills up while the record is written: everything before it has succeeded."""
    real = files.os.fsync

    def full(descriptor: int) -> None:
        name = Path(f"/proc/self/fd/{descriptor}").readlink()
        if name.parent.name == "mean@reference" and ".json." in name.name:
            raise OSError(28, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(files.os, "fsync", full)
    assert run() == 2
    assert "No space left on device" in capsys.readouterr().err
    assert not [name for name in results() if name.endswith((".json", ".part"))]


def test_a_really_full_file_system_is_reported_and_the_run_resumes(tmp_path, capsys):
    if shutil.which("mount") is None or os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(small)],
        check=False,
        capture_output=True,
    )
    if mounted.returncode:
        pytest.skip("this container may not mount file systems")
    try:
        assert run("--output", str(small / "results")) == 2
        assert "No space left on device" in capsys.readouterr().err
        assert not list((small / "results").glob("recon/**/*.json"))
        assert not list(small.rglob("*.part"))
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_offline_forbids_the_network():
    code = (
        "from medbench.harness.offline import block_network; block_network()\n"
        "import urllib.request; urllib.request.urlopen('http://192.0.2.1', timeout=2)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert "UsageError: --offline" in result.stderr


def test_one_failing_cell_does_not_stop_the_others(capsys):
    options = ["--tokenizer", "meditok@official", "--tokenizer", "mean", "--task", "recon"]
    assert invoke(["run", *options, "--dataset", "sample", "--limit", "1"]) == 4
    captured = capsys.readouterr()
    assert "mean@reference" in captured.out
    assert "MissingPrerequisite: meditok@official / recon" in captured.err


def test_validate_prints_each_check_and_fails_with_1_for_a_broken_tokenizer(capsys, monkeypatch):
    assert invoke(["validate", "down16"]) == 0
    assert "down16@reference" in capsys.readouterr().out
    monkeypatch.setattr("medbench.baselines.bounds.MeanColour.decode", lambda _, e: e.latents + 20)
    assert invoke(["validate", "mean"]) == 1
    assert "does not keep the protocol" in capsys.readouterr().err


def test_list_and_doctor_speak_json(capsys):
    assert invoke(["list", "--json"]) == 0
    kinds = {"tokenizers", "families", "tasks", "datasets"}
    assert kinds == set(json.loads(capsys.readouterr().out))
    assert invoke(["doctor", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["usable"] is True
    official = next(f for f in report["findings"] if f["name"] == "meditok@official")
    assert official["state"] == "missing"
    assert official["remedy"] == "medbench weights fetch meditok@official"


def test_doctor_names_a_data_root_that_is_not_there(monkeypatch, capsys):
    monkeypatch.setenv("MEDBENCH_DATA", "/nowhere/at/all")
    assert invoke(["doctor"]) == 3
    assert "/nowhere/at/all" in capsys.readouterr().out

"""`medbench data list`, `fetch` and `verify`, and doctor's data section, as a user meets them."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import threading
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from medbench.__main__ import invoke
from medbench.harness.datasets import available
from medbench.harness.datasets.card import Download, packaged_card
from medbench.harness.sizes import size_text

CONTENT = b"an archive of images" * 5000


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def root(tmp_path, monkeypatch) -> Path:
    """An empty data root."""
    root = tmp_path / "data"
    root.mkdir()
    monkeypatch.setenv("MEDBENCH_DATA", str(root))
    monkeypatch.setenv("HOME", str(tmp_path))
    return root


@pytest.fixture
def served(tmp_path, monkeypatch):
    """The card `chase` with two files that a server on this machine offers."""
    folder = tmp_path / "served"
    folder.mkdir()
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    downloads = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    for name in ("one.zip", "two.zip"):
        (folder / name).write_bytes(CONTENT + name.encode())
        sha256 = hashlib.sha256(CONTENT + name.encode()).hexdigest()
        url = f"http://127.0.0.1:{server.server_port}/{name}"
        downloads.append(Download(url=url, filename=name, sha256=sha256))
    card = packaged_card("chase").model_copy(update={"downloads": downloads})
    monkeypatch.setattr(available, "packaged_cards", lambda: {"chase": card})
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield folder
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_list_fits_a_terminal_and_says_what_is_here(root, capsys):
    (root / "chase").mkdir()
    (root / "chase" / "Image_01L.jpg").write_bytes(b"")
    assert invoke(["data", "list"]) == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 100
    lines = {line.split()[0]: line for line in out.splitlines() if line.strip()}
    assert lines["medsynth"].endswith("embedded")
    assert lines["chase"].endswith("partly")
    assert lines["drive"].endswith("registration")
    for heading in ("reconstruction", "linear probe", "captions"):
        assert heading in out


def test_the_list_as_json_holds_every_card_with_all_facts(root, capsys):
    assert invoke(["data", "list", "--json"]) == 0
    rows = {row["id"]: row for row in json.loads(capsys.readouterr().out)}
    assert set(rows) == set(available.known_cards())
    card = packaged_card("acrima")
    row = rows["acrima"]
    assert {name: row[name] for name in card.model_dump()} == card.model_dump(mode="json")
    assert (row["state"], row["place"]) == ("not here", None)


@pytest.mark.parametrize(
    ("options", "inside", "outside"),
    [
        (["--role", "captions"], "pmc-oa", "chase"),
        (["--modality", "ultrasound"], "hmc-qu", "chase"),
        (["--role", "probe", "--modality", "pathology"], "pathmnist", "dermamnist"),
    ],
)
def test_the_list_can_be_narrowed(root, capsys, options, inside, outside):
    assert invoke(["data", "list", *options]) == 0
    out = capsys.readouterr().out
    assert inside in out
    assert outside not in out


def test_an_unknown_modality_is_refused(capsys):
    assert invoke(["data", "list", "--modality", "xry"]) == 2
    assert "Did you mean: xray" in capsys.readouterr().err


@pytest.mark.parametrize(
    "command", [["data", "list"], ["data", "verify"], ["doctor"], ["cache"], ["data", "--help"]]
)
def test_looking_needs_no_torch(command, root):
    code = (
        "import sys; from medbench.__main__ import invoke; code = invoke(sys.argv[1:]); "
        "assert not {'torch', 'pandas', 'scipy'} & set(sys.modules); sys.exit(code)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, *command], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr


def test_fetch_shows_licence_and_files_asks_and_brings_them(served, root, capsys):
    assert invoke(["data", "fetch", "chase"]) == 2
    captured = capsys.readouterr()
    for text in ("licence: CC BY 4.0", "one.zip (100 kB; sha256)", str(root / "chase")):
        assert text in captured.out
    assert "Pass --yes" in captured.err
    assert not (root / "chase").exists()
    assert invoke(["data", "fetch", "chase", "--yes"]) == 0
    out = capsys.readouterr().out
    for name in ("one.zip", "two.zip"):
        assert (root / "chase" / name).read_bytes() == CONTENT + name.encode()
    assert "Archives are left as they are" in out
    assert "medbench data verify chase" in out
    assert invoke(["data", "fetch", "chase"]) == 0
    assert "already here" in capsys.readouterr().out


def test_fetch_keeps_the_good_file_where_the_second_is_wrong(served, root, capsys):
    (served / "two.zip").write_bytes(b"another")
    assert invoke(["data", "fetch", "chase", "--yes"]) == 1
    assert "two.zip: what came is not the file of the card" in capsys.readouterr().err
    assert sorted(p.name for p in (root / "chase").iterdir()) == ["one.zip", "two.zip.rejected"]
    assert invoke(["data", "fetch", "chase", "--yes", "--allow-modified"]) == 0
    captured = capsys.readouterr()
    assert "not the file of the card, taken as asked" in captured.err
    assert invoke(["data", "verify", "chase"]) == 1
    assert "its sha256 is" in capsys.readouterr().out


def test_fetch_of_a_file_that_is_gone_says_so(served, root, capsys):
    (served / "one.zip").unlink()
    assert invoke(["data", "fetch", "chase", "--yes"]) == 3
    assert "404" in capsys.readouterr().err


def test_fetch_refuses_what_does_not_fit_before_asking(served, root, capsys, monkeypatch):
    from medbench.harness.datasets import download_part

    usage = download_part.shutil.disk_usage(root)._replace(free=150_000)
    monkeypatch.setattr(download_part.shutil, "disk_usage", lambda _: usage)
    assert invoke(["data", "fetch", "chase", "--yes"]) == 2
    assert "chase needs" in capsys.readouterr().err
    assert not (root / "chase").exists()


def test_fetch_needs_a_data_root(served, monkeypatch, capsys):
    monkeypatch.delenv("MEDBENCH_DATA", raising=False)
    assert invoke(["data", "fetch", "chase", "--yes"]) == 3
    assert "set MEDBENCH_DATA" in capsys.readouterr().err


def test_a_gated_set_is_explained_step_by_step(root, capsys):
    assert invoke(["data", "fetch", "mimic-cxr", "--yes"]) == 3
    captured = capsys.readouterr()
    for text in ("1. Make an account", "2. Sign", "3. Download", "credentialed:", "PhysioNet"):
        assert text in captured.out
    assert "cannot be fetched by a command" in captured.err


def test_an_embedded_set_needs_no_fetching(capsys):
    assert invoke(["data", "fetch", "medsynth"]) == 0
    assert "nothing to fetch" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("names", "code", "words"),
    [
        ([], 0, "no data set was found"),
        (["sample"], 0, "sample: ok"),
        (["drive"], 3, "1. Join the challenge"),
        (["sample", "drive"], 3, "drive: missing"),
    ],
)
def test_verify_tells_by_its_code(root, capsys, names, code, words):
    assert invoke(["data", "verify", *names]) == code
    assert words in capsys.readouterr().out


def test_verify_as_json_and_wrong_before_missing(root, capsys):
    (root / "chase").mkdir()
    assert invoke(["data", "verify", "chase", "drive", "--json"]) == 1
    verdicts = {v["id"]: v for v in json.loads(capsys.readouterr().out)}
    assert (verdicts["chase"]["state"], verdicts["drive"]["state"]) == ("wrong", "missing")
    assert verdicts["chase"]["findings"][0]["level"] == "wrong"


def test_verify_names_the_way_to_the_steps_where_nothing_was_named(root, capsys):
    (root / "chase").mkdir()
    assert invoke(["data", "verify"]) == 1
    out = capsys.readouterr().out
    assert "how to get it: medbench data verify chase" in out
    assert "drive" not in out


def test_a_data_root_that_is_not_there_is_said(capsys):
    for command in (["data", "list"], ["data", "verify"], ["data", "fetch", "pathmnist@28"]):
        assert invoke([*command, "--data-root", "/nowhere"]) == 3
        assert "--data-root /nowhere is not a directory" in capsys.readouterr().err


def test_a_person_at_the_terminal_is_asked(served, root, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("typer.confirm", lambda *_, **__: pytest.fail("asked"))
    with pytest.raises(pytest.fail.Exception, match="asked"):
        invoke(["data", "fetch", "chase"])
    assert not (root / "chase").exists()


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1500, "2 kB"),
        (45_600_000, "45.6 MB"),
        (None, "unknown"),
    ],
)
def test_sizes_are_in_decimal_units(size, text):
    assert size_text(size) == text


def test_doctor_lists_what_lies_in_the_data_root(root, capsys):
    from PIL import Image

    (root / "chase").mkdir()
    for number in range(28):
        Image.new("RGB", (9, 9)).save(root / "chase" / f"Image_{number:02d}L.jpg")
    (root / "drive").mkdir()
    assert invoke(["doctor", "--json"]) == 0
    found = {f["name"]: f for f in json.loads(capsys.readouterr().out)["findings"]}
    assert found["chase"]["state"] == "ok"
    assert "28 files" in found["chase"]["detail"]
    assert (found["drive"]["state"], found["drive"]["remedy"]) == (
        "missing",
        "medbench data verify drive",
    )
    assert found["medsynth"]["detail"] == "embedded"
    assert "medbench data list" in found["others"]["detail"]


def test_doctor_and_list_stay_fast_on_a_large_data_root(root):
    folder = root / "isic2019" / "ISIC_2019_Training_Input"
    folder.mkdir(parents=True)
    for number in range(20_000):
        (folder / f"ISIC_{number:07d}.jpg").touch()
    start = time.process_time()
    cards = available.known_cards()
    seen = {name: available.presence(card, root) for name, card in cards.items()}
    assert time.process_time() - start < 0.8
    assert seen["isic2019"].state == "found"
    assert not seen["isic2019"].counted

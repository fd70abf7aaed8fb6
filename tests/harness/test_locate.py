from __future__ import annotations

import hashlib
import subprocess
import sys

import huggingface_hub
import pytest
from huggingface_hub import constants

from medbench.harness.entries import HubFile, PackagedFile
from medbench.harness.errors import MissingPrerequisite, UsageError
from medbench.harness.locate import converted_place, fetch, locate

CONTENT = b"weights"
DIGEST = hashlib.sha256(CONTENT).hexdigest()
SOURCE = HubFile("someone/model", "model.pth", licence="mit", size_bytes=1_510_000_000)


@pytest.fixture(autouse=True)
def _own_folders(monkeypatch, tmp_path):
    monkeypatch.setenv("MEDBENCH_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setenv("MEDBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))


def _place(path, content=CONTENT):
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    return path


def _pinned(digest=DIGEST):
    return HubFile("someone/model", "model.pth", sha256=digest)


def test_a_file_in_the_weights_root_is_found(tmp_path):
    path = _place(tmp_path / "weights" / "someone" / "model" / "model.pth")
    assert locate(SOURCE, tokenizer="m@official") == path
    assert locate(_pinned(), tokenizer="m@official") == path


def test_a_file_in_the_hubs_own_cache_is_found(tmp_path):
    folder = tmp_path / "hub" / "models--someone--model"
    path = _place(folder / "snapshots" / "abc" / "model.pth")
    _place(folder / "refs" / "main", b"abc")
    assert locate(SOURCE, tokenizer="m@official") == path


def test_absence_names_places_command_size_licence_and_alternatives(tmp_path):
    with pytest.raises(MissingPrerequisite) as caught:
        locate(SOURCE, tokenizer="m@official")
    message = str(caught.value)
    for part in (
        str(tmp_path / "weights" / "someone" / "model" / "model.pth"),
        str(tmp_path / "hub" / "models--someone--model"),
        "Fetch with: medbench weights fetch m@official",
        "--weights PATH",
        "1.51 GB",
        "licence: mit",
        "m@tiny",
    ):
        assert part in message
    with pytest.raises(MissingPrerequisite, match="On a machine with a connection: medbench"):
        locate(SOURCE, tokenizer="m@official", offline=True)


def test_another_content_than_the_pinned_one_is_refused(tmp_path):
    _place(tmp_path / "weights" / "someone" / "model" / "model.pth", b"other")
    with pytest.raises(UsageError, match="damaged or another file"):
        locate(_pinned(), tokenizer="m@official")


def test_a_packaged_file_is_found_checked_and_missed(tmp_path):
    path = tmp_path / "package" / "tiny.safetensors"
    with pytest.raises(MissingPrerequisite, match="ship with the package"):
        locate(PackagedFile(path, DIGEST), tokenizer="m@tiny")
    _place(path)
    assert locate(PackagedFile(path, DIGEST), tokenizer="m@tiny") == path
    with pytest.raises(UsageError, match="Reinstall medbench"):
        locate(PackagedFile(path, "0" * 64), tokenizer="m@tiny")


def test_fetching_asks_for_the_one_file_and_locate_finds_it(monkeypatch, tmp_path):
    asked = []

    def download(repository, filename, *, revision, local_dir):
        asked.append((repository, filename, revision))
        return str(_place(local_dir / filename))

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    path = fetch(_pinned())
    assert asked == [("someone/model", "model.pth", "main")]
    assert locate(_pinned(), tokenizer="m@official") == path


def test_a_failed_or_wrong_download_is_reported(monkeypatch, tmp_path):
    def fail(*_, **__):
        raise ConnectionError("no route")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fail)
    with pytest.raises(MissingPrerequisite, match=r"could not be downloaded .*no route"):
        fetch(SOURCE)
    wrong = _place(tmp_path / "download" / "model.pth", b"other")
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda *_, **__: str(wrong))
    with pytest.raises(UsageError, match="damaged or another file"):
        fetch(_pinned())


def test_looking_for_weights_imports_no_torch():
    code = (
        "import sys; from medbench.harness.locate import hub_places\n"
        "from medbench.harness.entries import HubFile\n"
        "hub_places(HubFile('a/b', 'c')); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_what_was_first_used_is_held_to(tmp_path):
    path = _place(tmp_path / "weights" / "someone" / "model" / "model.pth")
    locate(SOURCE, tokenizer="m@official")
    path.write_bytes(b"changed")
    with pytest.raises(UsageError, match=r"when it was first used here.*weights\.lock\.json"):
        locate(SOURCE, tokenizer="m@official")


def test_another_revision_is_recorded_on_its_own(tmp_path):
    path = _place(tmp_path / "weights" / "someone" / "model" / "model.pth")
    locate(SOURCE, tokenizer="m@official")
    path.write_bytes(b"changed")
    other = HubFile("someone/model", "model.pth", revision="v2")
    assert locate(other, tokenizer="m@official") == path


def test_a_damaged_record_of_hashes_is_named(tmp_path):
    _place(tmp_path / "weights" / "someone" / "model" / "model.pth")
    (tmp_path / "weights" / "weights.lock.json").write_text("{")
    with pytest.raises(UsageError, match=r"weights\.lock\.json is damaged"):
        locate(SOURCE, tokenizer="m@official")


def test_a_converted_file_is_preferred_and_keeps_the_published_hash(tmp_path):
    import torch

    from medbench.harness.weights import read_state_dict
    from medbench.harness.weights_convert import convert
    from medbench.harness.weights_lock import original_sha256, record_conversion

    original = tmp_path / "weights" / "someone" / "model" / "model.pth"
    original.parent.mkdir(parents=True)
    shared = torch.arange(4.0)
    torch.save({"ema": {"a": shared, "b": shared}, "model": {"a": -shared}}, original)
    published = original_sha256(original)
    converted = converted_place(SOURCE)
    assert convert(original, converted, prefer=("ema",))
    record_conversion(SOURCE, original, converted)
    assert locate(SOURCE, tokenizer="m@official") == converted
    assert original_sha256(converted) == published
    found = read_state_dict(converted)
    assert torch.equal(found["a"], shared)
    assert torch.equal(found["b"], shared)
    assert not convert(converted, tmp_path / "again.safetensors")
    original.unlink()
    assert locate(SOURCE, tokenizer="m@official") == converted
    converted.write_bytes(b"other")
    with pytest.raises(UsageError, match="damaged or another file"):
        locate(SOURCE, tokenizer="m@official")

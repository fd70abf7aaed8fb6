from __future__ import annotations

import io
import json
import tarfile

import numpy as np
import pytest
from PIL import Image

from medbench.harness.datasets.store import ingest
from medbench.harness.datasets.webdataset import build, expand_ranges
from medbench.harness.errors import UsageError


def png(level):
    file = io.BytesIO()
    Image.new("L", (20, 20), level).save(file, "PNG")
    return file.getvalue()


def shard(path, members, *, mode="w"):
    with tarfile.open(path, mode) as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def make(path, variant=""):
    return build("wds:x", argument=str(path), variant=variant)


def sample(key, level, **fields):
    return [
        (f"{key}.png", png(level)),
        (f"{key}.json", json.dumps({"modality": "x-ray", **fields}).encode()),
    ]


def test_side_files_give_modality_label_patient_and_caption(tmp_path):
    members = [*sample("d/a", 9, patient="p"), ("d/a.txt", b"A film\n"), ("d/a.cls", b"4")]
    item = make(shard(tmp_path / "s.tar", members)).items()[0]
    assert (item.id, item.group, item.label) == ("s.tar/d/a", "xray", "4")
    assert (item.patient, item.caption) == ("p", "A film")
    assert np.unique(item.load().rgb).tolist() == [9]


def test_ranges_and_folders_name_the_same_shards(tmp_path):
    for number in (8, 9, 10):
        shard(tmp_path / f"s-{number:02d}.tar", sample("a", number))
    by_range = make(tmp_path / "s-{08..10}.tar").items()
    assert [int(item.load().rgb[0, 0, 0]) for item in by_range] == [8, 9, 10]
    assert [item.id for item in make(tmp_path).items()] == [item.id for item in by_range]
    assert expand_ranges("{0..1}-{2..3}") == ["0-2", "0-3", "1-2", "1-3"]


def test_a_variant_is_the_modality_of_samples_without_one(tmp_path):
    path = shard(tmp_path / "s.tar", [("a.png", png(1))])
    assert make(path, "ct").items()[0].group == "ct"
    with pytest.raises(UsageError, match=r"s\.tar!a: no modality .* wds@MODALITY"):
        make(path)


def test_a_changed_shard_is_indexed_again(tmp_path):
    path = shard(tmp_path / "s.tar", sample("a", 1))
    assert len(make(path).items()) == 1
    shard(path, sample("b", 2), mode="a")
    assert len(make(path).items()) == 2


def test_a_shard_cut_in_the_middle_keeps_the_samples_before(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (60, 60, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).save(file, "PNG")
    path = shard(tmp_path / "s.tar", [*sample("a", 1), ("b.png", file.getvalue())])
    whole = path.read_bytes()
    path.write_bytes(whole[: 4 * 512 + 512 + 600])
    store = ingest(make(path))
    assert [row.id for row in store.rows] == ["s.tar/a"]
    assert "s.tar!b.png: cut off after 600 of" in store.failures[0].reason


def test_unsafe_and_repeated_members_are_named_and_the_others_kept(tmp_path):
    path = tmp_path / "s.tar"
    bad = [("../up.png", png(1)), ("/abs.png", png(1)), ("a.png", png(7))]
    shard(path, [*sample("a", 5), *bad])
    with tarfile.open(path, "a") as archive:
        link = tarfile.TarInfo("link.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    store = ingest(make(path))
    assert np.unique(store.images).tolist() == [5]
    reasons = "\n".join(failure.reason for failure in store.failures)
    for name in ("../up.png: the name leaves", "abs.png: the name leaves", "link.png: a link"):
        assert name in reasons
    assert "a.png: occurs more than once" in reasons


@pytest.mark.parametrize("mode", ["w:gz", None])
def test_compressed_shards_and_other_files_are_refused(tmp_path, mode):
    path = tmp_path / "s.tar"
    if mode:
        shard(path, sample("a", 1), mode=mode)
    else:
        path.write_bytes(b"no tar file" * 100)
    with pytest.raises(UsageError, match=r"s\.tar: not an uncompressed tar file"):
        make(path)


def test_a_shard_without_images_is_refused(tmp_path):
    with pytest.raises(UsageError, match="no images in the shards"):
        make(shard(tmp_path / "s.tar", [("a.txt", b"text")]))

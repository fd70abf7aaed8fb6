from __future__ import annotations

import csv
import io
import json
import pickle
import tarfile
from collections import Counter
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from medbench.harness.cache import contents
from medbench.harness.datasets.kept_rows import KeptItems
from medbench.harness.datasets.medsynth import describe, generate
from medbench.harness.datasets.store import ingest
from medbench.harness.errors import UsageError
from medbench.harness.registry import load_dataset
from medbench.harness.training.feed import Feed
from medbench.harness.training.presets import presets
from medbench.harness.training.sources.build import build_source
from medbench.harness.training.sources.ct_windows import OTHERS, USUAL, show
from medbench.harness.training.sources.datasets import require_epoch
from medbench.harness.training.sources.source import ImageSource


def source(reference: str, seed: int = 0, **terms: Any) -> ImageSource:
    terms = {"kind": "dataset", "dataset": reference, "augmentation": "none", **terms}
    return build_source(terms, seed=seed, cache=Path("unused"))


def flat_folder(root: Path, levels: range, side: int = 24) -> Path:
    """One fundus image of each grey level: an image tells which it is."""
    (root / "fundus").mkdir(parents=True)
    for level in levels:
        Image.new("RGB", (side, side), (level,) * 3).save(root / "fundus" / f"{level}.png")
    return root


def levels(images: ImageSource, positions: range) -> list[int]:
    return [round(float(images.sample(p, 24).image.mean()) * 255) for p in positions]


def ct_table(root: Path, hounsfield: np.ndarray, bias: int = 1024, **fields: str) -> str:
    Image.fromarray((hounsfield + bias).astype(np.uint16)).save(root / "ct.png")
    with (root / "table.csv").open("w", newline="") as file:
        row = {"identifier": "ct.png", "modality": "ct", "ct_bias": str(bias), **fields}
        table = csv.DictWriter(file, row)
        table.writeheader()
        table.writerow(row)
    return f"manifest:{root / 'table.csv'}"


def test_every_image_comes_once_an_epoch_in_another_order(tmp_path) -> None:
    images = source(f"folder:{flat_folder(tmp_path / 'a', range(7))}")
    assert images.size == 7
    epochs = [levels(images, range(first, first + 7)) for first in (0, 7, 14)]
    assert all(sorted(epoch) == list(range(7)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3
    other = source(f"folder:{flat_folder(tmp_path / 'b', range(7))}", seed=1)
    assert levels(other, range(7)) != epochs[0]


def test_whole_images_are_brought_to_a_square_as_in_evaluation(image_folder) -> None:
    dataset = load_dataset(f"folder:{image_folder}")
    stored = ingest(dataset, side=64).images
    images = source(f"folder:{image_folder}")
    for position in range(len(stored)):
        view = images.sample(position, 64).image.permute(1, 2, 0).numpy() * 255
        # Pillow's weights are coarser than torch's by up to one level.
        assert min(np.abs(view - each.astype(float)).max() for each in stored) <= 1.01


def test_hounsfield_units_of_a_table_go_through_drawn_windows(tmp_path, rng) -> None:
    hounsfield = np.sort(rng.integers(-1024, 2000, (40, 40)), axis=None).reshape(40, 40)
    reference = ct_table(tmp_path, hounsfield)
    plain = source(reference).sample(0, 40).image
    expected = torch.from_numpy(show(hounsfield, USUAL)).expand(3, -1, -1)
    assert torch.equal(plain, expected)
    drawn = source(reference, augmentation="official")
    # A crop keeps nine tenths, so the share of black pixels tells the window.
    share = {window: float((hounsfield <= window.low).mean()) for window in (*OTHERS, USUAL)}
    seen = Counter(
        min(share, key=lambda w: abs(share[w] - float((image == 0).float().mean())))
        for image in (drawn.sample(position, 40).image[0] for position in range(60))
    )
    assert any(window.low == -150 for window in seen)
    assert any(window.low == -1000 for window in seen)


@pytest.mark.parametrize("kind", ["eight bits", "mri of sixteen bits"])
def test_what_is_not_in_hounsfield_units_is_an_ordinary_image(tmp_path, rng, kind) -> None:
    pixels = rng.integers(0, 256, (40, 40), dtype=np.uint8)
    if kind == "eight bits":
        reference = f"folder:{tmp_path}"
        (tmp_path / "ct").mkdir()
        Image.fromarray(pixels).save(tmp_path / "ct" / "a.png")
    else:
        fields = {"modality": "mri", "window_low": "0", "window_high": "255"}
        reference = ct_table(tmp_path, pixels.astype(int), 0, **fields)
    view = source(reference).sample(0, 40).image
    assert torch.equal(view, torch.from_numpy(pixels / 255).float().expand(3, -1, -1))
    darkest = [
        source(reference, augmentation="official").sample(p, 40).image.min() for p in range(12)
    ]
    assert max(darkest) < 0.1


def test_medsynth_gives_its_hounsfield_units() -> None:
    images = source("medsynth@val", limit=1)
    found = {sample.modality: sample for sample in (images.sample(p, 256) for p in range(9))}
    hounsfield = generate("ct", 0, split="val").hounsfield
    assert hounsfield is not None
    assert torch.equal(found["ct"].image[0], torch.from_numpy(show(hounsfield, USUAL)))
    pixels = generate("fundus", 0, split="val").image
    expected = torch.from_numpy(pixels).permute(2, 0, 1).float() / 255
    assert torch.equal(found["fundus"].image, expected)


@pytest.mark.parametrize(
    ("caption", "text"),
    [("caption", None), ("modality", "A xray image"), ("none", "")],
)
def test_texts_are_captions_phrases_or_nothing(caption, text) -> None:
    images = source("medsynth@val", limit=1, caption=caption)
    sample = next(s for s in (images.sample(p, 32) for p in range(9)) if s.modality == "xray")
    known = describe("xray", 0, split="val")
    assert sample.text == (known.caption if text is None else text)
    assert sample.label == known.label


def test_captions_that_are_not_there_are_refused_or_told_of(tmp_path) -> None:
    root = flat_folder(tmp_path, range(4))
    with pytest.raises(UsageError, match="no captions; `caption: modality`"):
        source(f"folder:{root}", caption="caption")
    rows = [
        {"path": f"fundus/{k}.png", "modality": "fundus", **({"caption": "one"} if k else {})}
        for k in range(4)
    ]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    images = source(f"jsonl:{tmp_path / 'a.jsonl'}", caption="caption")
    samples = [images.sample(position, 24) for position in range(4)]
    assert {sample.text for sample in samples} == {"one"}
    (problem,) = [problem for sample in samples for problem in sample.problems]
    assert problem.endswith("fundus/0.png has no caption")


def test_the_next_image_stands_in_for_a_damaged_one(tmp_path) -> None:
    root = flat_folder(tmp_path, range(5))
    (root / "fundus" / "2.png").write_bytes(b"damaged")
    images = source(f"folder:{root}")
    samples = [images.sample(position, 24) for position in range(5)]
    shown = levels(images, range(5))
    assert sorted(set(shown)) == [0, 1, 3, 4]
    place = next(k for k, sample in enumerate(samples) if sample.problems)
    assert "2.png: 7 bytes, not an image file" in samples[place].problems[0]
    if place < 4:
        assert shown[place] == shown[place + 1]


def test_images_of_which_none_can_be_read_are_refused(tmp_path) -> None:
    root = flat_folder(tmp_path, range(3))
    for path in (root / "fundus").iterdir():
        path.write_bytes(b"damaged")
    with pytest.raises(UsageError, match=r"3 images one after the other cannot be used: .*\.png"):
        source(f"folder:{root}").sample(0, 24)


def test_an_epochs_order_is_the_permutation_of_seed_and_epoch(tmp_path) -> None:
    names = sorted(range(9), key=str)  # a folder's order
    for root in (flat_folder(tmp_path / "a", range(9)), None):
        if root is None:
            rows = [{"path": f"a/fundus/{k}.png", "modality": "fundus"} for k in names]
            (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
        reference = f"folder:{root}" if root else f"jsonl:{tmp_path / 'a.jsonl'}"
        images = source(reference, seed=5)
        for epoch in (1, 0, 2):  # in any order of asking
            order = np.random.default_rng([5, epoch, 1]).permutation(9)
            expected = [names[place] for place in order]
            assert levels(images, range(9 * epoch, 9 * epoch + 9)) == expected


def test_a_subset_is_fixed_whatever_the_seed_and_part_of_a_larger_one(tmp_path) -> None:
    root = flat_folder(tmp_path / "a", range(40))
    seen = {}
    for count in (10, 25):
        subsets = [source(f"folder:{root}", seed=seed, subset=count) for seed in (0, 1)]
        first, second = (set(levels(each, range(3 * count))) for each in subsets)
        assert first == second
        assert len(first) == subsets[0].size == count
        assert levels(subsets[0], range(count)) != levels(subsets[1], range(count))
        seen[count] = first
    assert seen[10] < seen[25]
    assert seen[10] != set(sorted(range(40), key=str)[:10])
    sent = pickle.loads(pickle.dumps(subsets[0]))
    assert levels(sent, range(25)) == levels(subsets[0], range(25))
    with pytest.raises(UsageError, match="41 images of a list that has 40"):
        source(f"folder:{root}", subset=41)


def test_a_row_of_the_ablations_in_miniature_sees_its_own_number_of_images(tmp_path) -> None:
    root = flat_folder(tmp_path / "a", range(40))
    stage = presets()["paper/t5-i"].stages()[0].config["data"]
    assert (stage["source"]["subset"], stage["epoch_images"]) == (800_000, 800_000)
    terms = {**stage["source"], "dataset": f"folder:{root}", "subset": 8, "ct_bias": 0.0}
    images = build_source(terms, seed=0, cache=tmp_path)
    require_epoch(images, 8)
    batches = Feed(images, lambda _: (4, 24), 1).batches(0)
    shown = [image for _, batch in zip(range(6), batches, strict=False) for image in batch.images]
    assert len({round(float(image.max()) * 255) for image in shown}) == 8
    with pytest.raises(UsageError, match=r"has 8 images, .* epoch has 10\."):
        require_epoch(images, 10)
    require_epoch(images, None)


def test_upstreams_own_table_of_deep_ct_goes_through_windows_in_the_feed(tmp_path, rng) -> None:
    hounsfield = rng.integers(-1024, 2000, (6, 32, 32))
    rows = [f"ct/{k}.png,A CT,ct,d" for k in range(6)]
    (tmp_path / "t.csv").write_text("\n".join(["identifier,caption,modality,dataset_name", *rows]))
    (tmp_path / "ct").mkdir()
    for number, values in enumerate(hounsfield):
        Image.fromarray((values + 1024).astype(np.uint16)).save(tmp_path / f"ct/{number}.png")
    published = presets()["paper"].stages()
    assert [s.config["data"]["source"]["ct_bias"] for s in published] == [1024, 0]
    terms = {"kind": "dataset", "dataset": f"manifest:{tmp_path / 't.csv'}"}
    plain = {**terms, "augmentation": "none", "ct_bias": 1024}
    images = build_source(plain, seed=0, cache=tmp_path)
    batch = next(Feed(images, lambda _: (6, 32), 1).batches(0))
    expected = torch.from_numpy(show(hounsfield, USUAL))[:, None].expand(-1, 3, -1, -1)
    order = np.random.default_rng([0, 0, 1]).permutation(6)
    assert torch.equal(batch.images, expected[torch.from_numpy(order)])
    drawn = build_source({**terms, "ct_bias": 1024}, seed=0, cache=tmp_path)
    assert next(Feed(drawn, lambda _: (6, 32), 1).batches(0)).images.min() == 0
    with pytest.raises(UsageError, match="has more than 8 bits"):
        next(Feed(build_source(terms, seed=0, cache=tmp_path), lambda _: (6, 32), 1).batches(0))
    with pytest.raises(UsageError, match="ct_bias is for tables of image files"):
        source("medsynth@val", ct_bias=1024)


def test_prepared_images_are_augmented_as_those_read_anew() -> None:
    anew, prepared = (
        source("medsynth@val", augmentation="official", limit=2, prepared=side)
        for side in (None, 256)
    )
    sent = pickle.loads(pickle.dumps(prepared))
    assert prepared.size == anew.size == 18
    for position in range(18):
        expected = anew.sample(position, 64)
        for images in (prepared, sent):
            found = images.sample(position, 64)
            assert torch.equal(found.image, expected.image), expected.modality
            assert (found.text, found.label) == (expected.text, expected.label)


def test_prepared_ct_of_another_side_keeps_its_units(tmp_path, rng) -> None:
    hounsfield = np.repeat(np.repeat(rng.integers(-1000, 1000, (8, 8)), 6, 0), 6, 1)
    reference = ct_table(tmp_path, hounsfield)
    images = source(reference, prepared=24)
    expected = F.interpolate(
        torch.from_numpy(hounsfield)[None, None].float(), (24, 24), mode="bilinear", antialias=True
    )
    view = images.sample(0, 24).image
    assert torch.equal(
        view, torch.from_numpy(show(expected[0, 0].numpy(), USUAL)).expand(3, -1, -1)
    )


def test_prepared_images_come_from_the_image_cache(image_folder) -> None:
    (image_folder / "ct" / "bad.png").write_bytes(b"damaged")
    images = source(f"folder:{image_folder}", prepared=48)
    assert images.size == 6
    stored = ingest(load_dataset(f"folder:{image_folder}"), side=48).images
    expected = torch.from_numpy(np.array(stored)).permute(0, 3, 1, 2).float() / 255
    for path in image_folder.rglob("*.png"):
        path.unlink()
    views = torch.stack([images.sample(position, 48).image for position in range(6)])
    distances = (views[:, None] - expected[None]).flatten(2).abs().amax(dim=2)
    assert (distances == 0).sum(dim=1).tolist() == [1] * 6
    assert any(entry.kind == "images" for entry in contents().entries)


def png(rng: np.random.Generator) -> bytes:
    file = io.BytesIO()
    Image.fromarray(rng.integers(0, 256, (20, 20, 3), dtype=np.uint8)).save(file, "PNG")
    return file.getvalue()


def packaged_dicom() -> str:
    from pydicom.data import get_testdata_file

    return str(get_testdata_file("CT_small.dcm", download=False))


def references(root: Path, rng: np.random.Generator) -> dict[str, str]:
    """A small data set of every reader that opens files."""
    (root / "ct").mkdir()
    (root / "ct" / "a.png").write_bytes(png(rng))
    (root / "a.jsonl").write_text(json.dumps({"path": "ct/a.png", "modality": "ct"}))
    with tarfile.open(root / "a.tar", "w") as file:
        for name, data in {"a.png": png(rng), "a.json": b'{"modality": "ct"}'}.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            file.addfile(member, io.BytesIO(data))
    arrays = {
        "train_images": rng.integers(1, 256, (2, 28, 28), dtype=np.uint8),
        "train_labels": np.array([[0], [1]], dtype=np.uint8),
    }
    np.savez(root / "a.npz", **arrays)
    volume = rng.integers(-1000, 1000, (12, 14, 2)).astype(np.int16)
    nib.save(nib.Nifti1Image(volume, np.eye(4)), root / "a.nii.gz")  # pyright: ignore[reportPrivateImportUsage]
    return {
        "folder": f"folder:{root}",
        "manifest": ct_table(root, rng.integers(-1000, 1000, (20, 20))),
        "jsonl": f"jsonl:{root / 'a.jsonl'}",
        "wds": f"wds:{root / 'a.tar'}",
        "npz": f"npz@ct-train:{root / 'a.npz'}",
        "nifti": f"nifti@ct:{root / 'a.nii.gz'}",
        "dicom": f"dicom:{packaged_dicom()}",
        "medsynth": "medsynth@train",
        "sample": "sample",
    }


def test_the_images_of_every_reader_can_be_made_in_another_process(tmp_path, rng) -> None:
    for name, reference in references(tmp_path, rng).items():
        images = source(reference, augmentation="official", limit=2)
        sent = pickle.loads(pickle.dumps(images))
        for position in range(2):
            own, other = images.sample(position, 32), sent.sample(position, 32)
            assert torch.equal(own.image, other.image), name
            assert own.problems == (), name


def test_the_readers_of_volumes_give_hounsfield_units(tmp_path, rng) -> None:
    from pydicom import dcmread

    known = references(tmp_path, rng)
    header = dcmread(known["dicom"].partition(":")[2])
    hounsfield = header.pixel_array * float(header.RescaleSlope) + float(header.RescaleIntercept)
    (item,) = load_dataset(known["dicom"]).items()
    np.testing.assert_array_equal(item.load().intensities, hounsfield)
    values = np.asarray(nib.load(tmp_path / "a.nii.gz").dataobj)  # pyright: ignore
    first = load_dataset(known["nifti"]).items()[0].load().intensities
    np.testing.assert_array_equal(first, values[::-1, ::-1, 0].T)
    for name in ("folder", "npz", "wds"):
        assert load_dataset(known[name]).items()[0].load().intensities is None


@pytest.mark.parametrize(
    ("reference", "terms", "message"),
    [
        ("medsynth@val", {"augmentation": "strong"}, "augmentation"),
        ("medsynth@val", {"caption": "text"}, "caption"),
        ("medsynth@val", {"size": 3}, "unknown terms: size"),
        ("medsnth", {}, "unknown dataset 'medsnth'"),
    ],
)
def test_terms_that_cannot_be_are_refused(reference, terms, message) -> None:
    with pytest.raises(UsageError, match=message):
        source(reference, **terms)


def test_a_list_with_other_images_or_another_order_has_another_fingerprint(tmp_path):
    first = source(f"folder:{flat_folder(tmp_path / 'a', range(4))}").fingerprint
    assert first.startswith("4 images ")
    assert source(f"folder:{tmp_path / 'a'}", seed=1).fingerprint == first
    (tmp_path / "a" / "fundus" / "2.png").unlink()
    assert source(f"folder:{tmp_path / 'a'}").fingerprint.startswith("3 images ")
    Image.new("RGB", (24, 24)).save(tmp_path / "a" / "fundus" / "9.png")
    again = source(f"folder:{tmp_path / 'a'}").fingerprint
    assert again.startswith("4 images ")
    assert again != first


def test_a_long_list_and_its_subset_have_a_fingerprint_without_being_read(tmp_path, monkeypatch):
    flat_folder(tmp_path / "a", range(3))
    rows = [f"a/fundus/{n}.png,fundus" for n in range(3)]
    tables = [tmp_path / "one.csv", tmp_path / "other.csv"]
    for table, order in zip(tables, (rows, rows[::-1]), strict=True):
        table.write_text("\n".join(["path,modality", *order]))
    sources = [source(f"manifest:{table}") for table in tables]
    part = source(f"manifest:{tables[0]}", subset=2)
    monkeypatch.setattr(KeptItems, "__getitem__", None)
    one, other = (each.fingerprint for each in sources)
    assert one.startswith("3 images ")
    assert one != other
    assert part.fingerprint == f"2 of {one}"

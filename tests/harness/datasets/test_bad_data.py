"""Bad data through the public door: each defect is refused by file and row, and nothing else is."""

from __future__ import annotations

import csv
import io
import json
import re
import tarfile
import tracemalloc
import zipfile
import zlib
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import ExplicitVRLittleEndian, JPEGLSLossless

import medbench
from medbench.__main__ import invoke
from medbench.harness.datasets.store import ingest
from medbench.harness.errors import MedbenchError


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(1, 256, shape, dtype=np.uint8)


def png(array, kind="PNG"):
    file = io.BytesIO()
    Image.fromarray(array).save(file, kind)
    return file.getvalue()


def cut(path, share=0.5):
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])


# --- what stands in a folder of images: content of the bad file, and what is said of it


def bomb_png():
    """A header of 40,000 x 40,000 pixels with hardly anything behind it."""

    def chunk(kind, data):
        body = kind + data
        return len(data).to_bytes(4) + body + zlib.crc32(body).to_bytes(4)

    header = (40_000).to_bytes(4) * 2 + bytes([8, 2, 0, 0, 0])
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(99)))


def gif():
    file = io.BytesIO()
    frames = [Image.new("L", (20, 20), level) for level in (0, 90, 200)]
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
    return file.getvalue()


def nan_tiff():
    values = np.full((20, 20), 3, np.float32)
    values[4, 5] = np.nan
    return png(values, "TIFF")


DEEP = png(np.full((20, 20), 1524, np.uint16))
IMAGES = {
    "truncated JPEG": ("a.jpg", png(noise(90, 90, 3), "JPEG")[:2000], "Truncated or damaged"),
    "zero bytes": ("a.png", b"", "0 bytes, not an image file"),
    "16 bits without a window": ("a.png", DEEP, "more than 8 bits.*window_low, window_high"),
    "decompression bomb": ("a.png", bomb_png(), "too many pixels.*1600000000.*tiles"),
    "animated GIF": ("a.gif", gif(), "3 frames; one image per file"),
    "NaN without a window": ("a.tif", nan_tiff(), "more than 8 bits"),
}


@pytest.mark.parametrize("case", IMAGES)
def test_a_bad_image_in_a_folder_is_named_and_three_good_ones_stay(tmp_path, case):
    name, content, reason = IMAGES[case]
    (tmp_path / "ct").mkdir()
    for number in range(3):
        (tmp_path / f"ct/good{number}.png").write_bytes(png(noise(20, 20, seed=number)))
    (tmp_path / "ct" / name).write_bytes(content)
    store = ingest(medbench.load_dataset(f"folder:{tmp_path}"))
    assert [row.id for row in store.rows] == [f"ct/good{number}.png" for number in range(3)]
    [failure] = store.failures
    assert re.search(rf"{re.escape(str(tmp_path / 'ct' / name))}: .*{reason}", failure.reason)


# --- rows of tables: fields of the bad row, and what is said of it

ROWS = {
    "absent file": ({"path": "none.png"}, "none.png: cannot be read"),
    "a folder": ({"path": "."}, "cannot be read"),
    "name too long": ({"path": "x" * 5000}, "cannot be read"),
    "path climbs out": ({"path": "../a.png"}, "row 4: path '../a.png' leaves the table's folder"),
    "mask climbs out": ({"mask": "a/../../b"}, "row 4: mask .* leaves the table's folder"),
    "no path": ({"path": ""}, "row 4: path .* must not be empty"),
    "no modality": ({"modality": ""}, "row 4: .* modality must not be empty"),
    "unknown modality": ({"modality": "cat"}, "row 4: 'cat' is not a modality. Did you mean 'ct'"),
    "duplicate id": ({"id": "good1"}, "row 4: 'good1' occurs more than once"),
    "8 bits and a CT bias": ({"ct_bias": "1024"}, "8 bits.*bias of 1024.*nearly black.*16-bit"),
    "NaN pixels": (
        {"path": "nan.tif", "window_low": "0", "window_high": "9"},
        "nan.tif: 1 of 400 pixels are NaN or infinite",
    ),
    "half a window": ({"window_low": "3"}, "row 4: window_low and window_high must both be"),
}


def table_rows(folder, bad):
    """Two good rows, the bad one, and a good one."""
    for number in range(4):
        (folder / f"{number}.png").write_bytes(png(noise(20, 20, seed=number)))
    (folder / "nan.tif").write_bytes(nan_tiff())
    rows = [
        {"id": f"good{number}", "path": f"{number}.png", "modality": "ct"} for number in range(4)
    ]
    rows[2] |= {"id": "bad"} | bad
    return rows


def as_csv(folder, rows):
    path = folder / "list.csv"
    columns = sorted({name for row in rows for name in row})
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)
    return f"manifest:{path}"


def as_jsonl(folder, rows):
    path = folder / "list.jsonl"
    # A blank line makes the line numbers those of the CSV table.
    path.write_text("\n" + "\n".join(map(json.dumps, rows)))
    return f"jsonl:{path}"


def assert_only_the_third_fails(reference, reason):
    store = ingest(medbench.load_dataset(reference))
    assert [row.id for row in store.rows] == ["good0", "good1", "good3"]
    [failure] = store.failures
    assert re.search(reason, failure.reason), failure.reason
    assert "/" in failure.reason


@pytest.mark.parametrize("write", [as_csv, as_jsonl])
@pytest.mark.parametrize("case", ROWS)
def test_a_bad_row_is_named_and_three_good_ones_stay(tmp_path, write, case):
    bad, reason = ROWS[case]
    assert_only_the_third_fails(write(tmp_path, table_rows(tmp_path, bad)), reason)


CSV_LINES = {
    "too many cells": (b"bad,ct,2.png,more", "row 4: 4 cells, the header has 3.*between quotes"),
    "too few cells": (b"bad,ct", "row 4: 2 cells, the header has 3"),
    "not UTF-8": (b"bad,ct,\xff\xfe.png", "row 4: not UTF-8 text"),
}
JSON_LINES = {
    "broken": (b'{"identifier": ', "row 4: not valid JSON"),
    "no object": (b"7", "row 4: an object is expected, found int"),
    "no identifier": (b'{"modality": "ct"}', "row 4: path .or identifier. and modality"),
    "not UTF-8": (b'{"path": "\xff", "modality": "ct"}', "row 4: not valid JSON"),
    "no text": (b'{"path": "\\ud800", "modality": "ct"}', "row 4: .*half of a character"),
}


@pytest.mark.parametrize(
    ("write", "line", "reason"),
    [
        *((as_csv, *CSV_LINES[case]) for case in CSV_LINES),
        *((as_jsonl, *JSON_LINES[case]) for case in JSON_LINES),
    ],
    ids=[*CSV_LINES, *(f"JSON {case}" for case in JSON_LINES)],
)
def test_a_broken_line_is_named_and_three_good_ones_stay(tmp_path, write, line, reason):
    reference = write(tmp_path, table_rows(tmp_path, {}))
    path = Path(reference.partition(":")[2])
    lines = path.read_bytes().splitlines()
    lines[3] = line
    path.write_bytes(b"\n".join(lines))
    assert_only_the_third_fails(reference, reason)


def test_a_link_that_the_user_made_is_followed_as_an_absolute_path_is(tmp_path):
    inside = tmp_path / "inside"
    inside.mkdir()
    (tmp_path / "out.png").write_bytes(png(np.full((20, 20), 77, np.uint8)))
    (inside / "link.png").symlink_to(tmp_path / "out.png")
    reference = as_csv(inside, [{"path": "link.png", "modality": "ct"}])
    [item] = medbench.load_dataset(reference).items()
    assert np.unique(item.load().rgb).tolist() == [77]


# --- tar shards


def shard(path):
    """Samples a, b (noise, large) and c."""
    with tarfile.open(path, "w") as archive:
        for name, array in (("a", noise(20, 20)), ("b", noise(90, 90, 3)), ("c", noise(20, 20))):
            data = png(array)
            info = tarfile.TarInfo(f"{name}.png")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def add_member(path, name, kind=tarfile.REGTYPE, target=""):
    with tarfile.open(path, "a") as archive:
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, target
        data = png(noise(20, 20)) if kind == tarfile.REGTYPE else b""
        info.size = len(data)
        archive.addfile(info, io.BytesIO(data))


MEMBERS = {
    "climbs out": (("../up.png",), "the name leaves the archive"),
    "climbs out inside": (("x/../../up.png",), "the name leaves the archive"),
    "absolute": (("/abs.png",), "the name leaves the archive"),
    "symbolic link": (("l.png", tarfile.SYMTYPE, "/etc/hostname"), "a link is not read"),
    "hard link": (("l.png", tarfile.LNKTYPE, "a.png"), "a link is not read"),
    "device": (("d.png", tarfile.CHRTYPE), "a device or special file"),
    "pipe": (("p.png", tarfile.FIFOTYPE), "a device or special file"),
    "repeated": (("a.png",), "occurs more than once"),
}


@pytest.mark.parametrize("case", MEMBERS)
def test_an_unsafe_tar_member_is_named_and_three_good_samples_stay(tmp_path, case):
    member, reason = MEMBERS[case]
    path = shard(tmp_path / "s.tar")
    add_member(path, *member)
    store = ingest(medbench.load_dataset(f"wds@ct:{path}"))
    assert [row.id for row in store.rows] == ["s.tar/a", "s.tar/b", "s.tar/c"]
    [failure] = store.failures
    assert failure.reason.startswith(f"{path}!{member[0]}: {reason}")


@pytest.mark.parametrize("place", ["header of b", "content of b", "before b"])
def test_a_shard_cut_in_the_middle_keeps_what_is_before(tmp_path, place):
    path = shard(tmp_path / "s.tar")
    with tarfile.open(path) as archive:
        header = archive.getmember("b.png").offset
    size = {"header of b": header + 100, "content of b": header + 5000, "before b": header}[place]
    path.write_bytes(path.read_bytes()[:size])
    store = ingest(medbench.load_dataset(f"wds@ct:{path}"))
    assert [row.id for row in store.rows] == ["s.tar/a"]
    [failure] = store.failures
    assert re.search(rf"{re.escape(str(path))}.*(cut off|damaged) after", failure.reason)


# --- DICOM


def dicom(path, **fields):
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    data.Modality, data.Rows, data.Columns, data.SamplesPerPixel = "CT", 32, 40, 1
    data.PhotometricInterpretation = "MONOCHROME2"
    data.BitsAllocated = data.BitsStored = 16
    data.HighBit, data.PixelRepresentation = 15, 1
    data.PixelData = np.arange(32 * 40, dtype=np.int16).tobytes()
    for name, value in fields.items():
        setattr(data, name, value)
    data.save_as(path, enforce_file_format=True)
    return path


def without(path, *names):
    data = dcmread(path)
    for name in names:
        delattr(data, name)
    data.save_as(path)


def compressed(path):
    data = dcmread(path)
    data.file_meta.TransferSyntaxUID = JPEGLSLossless
    data.PixelData = encapsulate([b"\xff\xd8\xff\xd9"])
    data["PixelData"].is_undefined_length = True
    data.save_as(path)


DICOM = {
    "no pixels": (lambda p: without(dicom(p), "PixelData"), "without pixels"),
    "truncated pixels": (lambda p: cut(dicom(p), 0.7), "frame 0 cannot be decoded.*Truncated"),
    "truncated header": (lambda p: cut(dicom(p), 0.08), "not a readable DICOM|modality ''"),
    "missing decoder": (
        lambda p: compressed(dicom(p)),
        "no decoder for JPEG-LS.* is installed: pip install pylibjpeg",
    ),
    "no photometric": (lambda p: without(dicom(p), "PhotometricInterpretation"), "bad.dcm: "),
    "empty slope": (lambda p: dicom(p, RescaleSlope=None), "a field is absent or malformed"),
    "two slopes": (lambda p: dicom(p, RescaleSlope=[1, 2]), "a field is absent or malformed"),
    "endless slope": (lambda p: dicom(p, RescaleSlope="1e400"), "values that are not finite"),
    "negative frames": (lambda p: dicom(p, NumberOfFrames=-3), "NumberOfFrames is -3"),
    "a billion frames": (lambda p: dicom(p, NumberOfFrames=10**9), "NumberOfFrames is 10+"),
    "unknown modality": (lambda p: dicom(p, Modality="PT"), "modality 'PT' is none of"),
    "no DICOM": (lambda p: p.write_text("text"), "not a readable DICOM file"),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", DICOM)
def test_a_bad_dicom_file_is_named_and_two_good_ones_stay(tmp_path, case):
    make, reason = DICOM[case]
    for name in ("a", "z"):
        dicom(tmp_path / f"{name}.dcm")
    bad = tmp_path / "bad.dcm"
    make(bad)
    store = ingest(medbench.load_dataset(f"dicom:{tmp_path}"))
    assert [row.id for row in store.rows] == ["a.dcm", "z.dcm"]
    [failure] = store.failures
    assert failure.reason.startswith(f"{bad}: ")
    assert re.search(reason, failure.reason), failure.reason


# --- NIfTI

HU = np.random.default_rng(0).integers(-1000, 1000, (20, 20, 10)).astype(np.int16)


def nifti(path, values=HU):
    nib.save(nib.Nifti1Image(values, np.eye(4)), path)
    return path


def with_nan(path):
    values = HU.astype(np.float32)
    values[3, :4, 5] = np.nan
    nifti(path, values)


def enormous(path):
    header = bytearray(nifti(path).read_bytes())
    header[40:56] = np.array([3, 30000, 30000, 30000, 1, 1, 1, 1], "<i2").tobytes()
    path.write_bytes(header)


def dangling(path):
    path.symlink_to(path.with_name("absent"))


NIFTI = {
    "NaN": ("bad.nii", with_nan, "4 of 4000 voxels are NaN or infinite. Mend"),
    "truncated": ("bad.nii", lambda p: cut(nifti(p)), "cannot hold them. Truncated"),
    "truncated gzip": ("bad.nii.gz", lambda p: cut(nifti(p)), "cannot be read.*Truncated"),
    "truncated header": ("bad.nii", lambda p: cut(nifti(p), 0.02), "not a readable NIfTI"),
    "more than it can hold": ("bad.nii", enormous, "54,000,000,000,000 bytes.*cannot hold"),
    "complex": ("bad.nii", lambda p: nifti(p, HU.astype(np.complex64)), "type complex64; real"),
    "dangling link": ("bad.nii", dangling, "not a readable NIfTI"),
    "folder": ("bad.nii", lambda p: p.mkdir(), "not a readable NIfTI"),
}


@pytest.mark.parametrize("case", NIFTI)
def test_a_bad_volume_is_named_and_the_slices_of_the_good_one_stay(tmp_path, case):
    name, make, reason = NIFTI[case]
    nifti(tmp_path / "good.nii.gz")
    make(tmp_path / name)
    store = ingest(medbench.load_dataset(f"nifti@ct:{tmp_path}"))
    assert [row.patient for row in store.rows] == ["good.nii.gz"] * 10
    assert store.failures
    for failure in store.failures:
        assert str(tmp_path / name) in failure.reason
        assert re.search(reason, failure.reason), failure.reason


# --- npz


def arrays(**changed):
    made = {"test_images": noise(6, 12, 12), "test_labels": np.arange(6)}
    return made | changed


def stated(path, shape, data=b"\1" * 144):
    """test_images states a shape that its member does not have."""
    np.savez(path, **arrays())
    with zipfile.ZipFile(path) as archive:
        labels = archive.read("test_labels.npy")
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        head, {"descr": "|u1", "fortran_order": False, "shape": shape}
    )
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("test_labels.npy", labels)
        with archive.open("test_images.npy", "w", force_zip64=True) as member:
            member.write(head.getvalue())
            for _ in range(np.prod(shape, dtype=np.int64) // (1 << 20) if len(data) > 144 else 1):
                member.write(data)


NPZ = {
    "truncated": (lambda p: (np.savez(p, **arrays()), cut(p)), "Truncated or damaged"),
    "no archive": (lambda p: p.write_bytes(b""), "Truncated or damaged"),
    "other counts": (
        lambda p: np.savez(p, **arrays(test_labels=np.arange(5))),
        "test has 6 images and 5 labels.*Replace",
    ),
    "objects": (
        lambda p: np.savez(p, **arrays(test_labels=np.array([{}] * 6))),
        "test_labels",
    ),
    "a claimed terabyte": (
        lambda p: stated(p, (10**6, 1024, 1024)),
        r"test_images .*claims 1,048,576,000,000 bytes, the archive has",
    ),
    "a bomb": (
        lambda p: stated(p, (128, 1024, 1024), bytes(1 << 20)),
        r"test_images .* claim to be 134,\d+,\d+ unpacked",
    ),
}


@pytest.mark.parametrize("case", NPZ)
def test_a_bad_npz_file_is_refused_by_name_before_memory_is_spent(tmp_path, case):
    make, reason = NPZ[case]
    path = tmp_path / "bad.npz"
    make(path)
    tracemalloc.start()
    try:
        with pytest.raises(MedbenchError, match=rf"bad\.npz: .*{reason}"):
            ingest(medbench.load_dataset("npz@ct:bad.npz", data_root=tmp_path))
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()


def test_an_npz_label_outside_the_range_is_named_and_the_others_stay(tmp_path):
    np.savez(tmp_path / "a.npz", **arrays(test_labels=np.array([0, 1, -4, 2, 0, 1])))
    store = ingest(medbench.load_dataset("npz@ct:a.npz", data_root=tmp_path))
    assert len(store) == 5
    [failure] = store.failures
    assert f"{tmp_path / 'a.npz'}: test row 2: label [-4] is outside" in failure.reason


# --- sets with official sizes


def medmnist(root, **changed):
    made = {}
    for split, count in (("train", 546), ("val", 78), ("test", 156)):
        made[f"{split}_images"] = noise(count, 28, 28)
        made[f"{split}_labels"] = np.zeros((count, 1), np.uint8)
    np.savez(root / "breastmnist.npz", **(made | changed))


def test_wrong_split_sizes_are_refused_with_both_counts(tmp_path, monkeypatch):
    monkeypatch.delenv("MEDBENCH_ALLOW_MODIFIED", raising=False)
    medmnist(tmp_path, val_images=noise(70, 28, 28), val_labels=np.zeros((70, 1), np.uint8))
    with pytest.raises(MedbenchError, match="val has 70 rows, the official file has 78"):
        medbench.load_dataset("breastmnist@28", data_root=tmp_path)
    (tmp_path / "slake").mkdir()
    row = {"img_name": "a.jpg", "question": "?", "answer": "x", "q_lang": "en", "qid": 1}
    row |= {"modality": "CT", "answer_type": "OPEN"}
    (tmp_path / "slake/test.json").write_text(json.dumps([row]))
    with pytest.raises(MedbenchError, match=r"test\.json .*1 questions, the official file has 2,0"):
        medbench.load_dataset("slake", data_root=tmp_path)


def test_a_medmnist_label_outside_the_range_is_named_and_155_stay(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDBENCH_ALLOW_MODIFIED", "1")
    labels = np.zeros((156, 1), np.uint8)
    labels[40] = 9
    medmnist(tmp_path, test_labels=labels)
    store = ingest(medbench.load_dataset("breastmnist@28", data_root=tmp_path))
    assert len(store) == 155
    [failure] = store.failures
    assert "breastmnist.npz: test row 40: label [9] is outside 0..1" in failure.reason


# --- the same through the command line


@pytest.mark.parametrize("kind", ["table", "shard"])
def test_a_run_measures_the_good_images_and_ends_with_exit_code_4(tmp_path, kind):
    if kind == "table":
        reference, good = as_csv(tmp_path, table_rows(tmp_path, {"path": "../x.png"})), 3
    else:
        path = shard(tmp_path / "s.tar")
        add_member(path, "../up.png")
        reference, good = f"wds@ct:{path}", 3
    out = tmp_path / "results"
    options = f"--tokenizer down16 --task recon --device cpu --json --output {out}".split()
    assert invoke(["run", *options, "--dataset", reference]) == 4
    [path] = [p for p in out.rglob("*.json") if ".work" not in p.parts]
    record = medbench.load_record(path)
    assert len(record.dataset.failed) == 1
    assert "leaves the" in record.dataset.failed[0].reason
    assert record.dataset.n == good

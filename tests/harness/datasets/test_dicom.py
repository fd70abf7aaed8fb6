from __future__ import annotations

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.pixels import apply_windowing
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, JPEGLSLossless

from medbench.harness.datasets.dicom import build
from medbench.harness.datasets.store import ingest
from medbench.harness.errors import MissingPrerequisite, UsageError


def write(path, pixels, **fields):
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    data.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    data.SOPClassUID, data.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2", "1.2.3"
    data.Modality, data.PatientID = "CT", "SECRET-17"
    colour = pixels.shape[-1] == 3
    data.Rows, data.Columns = pixels.shape[-3:-1] if colour else pixels.shape[-2:]
    data.SamplesPerPixel = 3 if colour else 1
    data.PhotometricInterpretation = "RGB" if colour else "MONOCHROME2"
    if colour:
        data.PlanarConfiguration = 0
    if pixels.ndim == 3 and not colour:
        data.NumberOfFrames = len(pixels)
    bits = pixels.dtype.itemsize * 8
    data.BitsAllocated = data.BitsStored = bits
    data.HighBit, data.PixelRepresentation = bits - 1, int(pixels.dtype.kind == "i")
    data.PixelData = pixels.tobytes()
    for name, value in fields.items():
        setattr(data, name, value)
    data.save_as(path, enforce_file_format=True)
    return path


def make(path, variant=""):
    return build(f"dicom:{path}", argument=str(path), variant=variant)


def grey(item):
    rgb = item.load().rgb
    assert (rgb == rgb[..., :1]).all()
    return rgb[..., 0]


@pytest.fixture
def stored(rng):
    return rng.integers(-100, 3000, (32, 40), dtype=np.int16)


def by_hand(values, low, high):
    # Scale first, as a tie may round either way otherwise.
    levels = (np.asarray(values, np.float64) - low) * (255 / (high - low))
    return np.rint(levels).clip(0, 255).astype(np.uint8)


def test_ct_is_rescaled_and_shown_in_its_window(tmp_path, stored):
    path = write(tmp_path / "a.dcm", stored, RescaleSlope=2, RescaleIntercept=-1024)
    [item] = make(path).items()
    assert item.group == "ct"
    np.testing.assert_array_equal(grey(item), by_hand(stored * 2.0 - 1024, -1000, 1000))
    [item] = make(path, "-160..240").items()
    np.testing.assert_array_equal(grey(item), by_hand(stored * 2.0 - 1024, -160, 240))


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT"])
def test_the_files_window_follows_the_standard(tmp_path, stored, function):
    fields = {"WindowCenter": [40, 1], "WindowWidth": [401, 2], "VOILUTFunction": function}
    path = write(tmp_path / "a.dcm", stored, **fields)
    [item] = make(path, "file").items()
    data = dcmread(path)
    oracle = apply_windowing(data.pixel_array, data)
    low, high = -(2**15), 2**15 - 1
    oracle = (oracle - low) * 255 / (high - low)
    assert np.abs(grey(item) - oracle).max() <= 0.51


def test_monochrome1_is_inverted(tmp_path, stored):
    plain = write(tmp_path / "a.dcm", stored)
    inverted = write(tmp_path / "b.dcm", stored, PhotometricInterpretation="MONOCHROME1")
    one, other = (grey(make(path).items()[0]) for path in (plain, inverted))
    np.testing.assert_array_equal(one, 255 - other)


def test_mr_is_shown_between_percentiles(tmp_path, stored):
    path = write(tmp_path / "a.dcm", stored, Modality="MR")
    [item] = make(path).items()
    assert item.group == "mri"
    low, high = np.percentile(stored, [0.5, 99.5])
    np.testing.assert_array_equal(grey(item), by_hand(stored, low, high))


def test_each_frame_is_an_image_with_its_own_rescale(tmp_path, rng):
    frames = rng.integers(0, 2000, (3, 16, 16), dtype=np.int16)
    groups = []
    for intercept in (-1024, 0, 10):
        group, macro = Dataset(), Dataset()
        macro.RescaleSlope, macro.RescaleIntercept, macro.RescaleType = 1, intercept, "HU"
        group.PixelValueTransformationSequence = Sequence([macro])
        groups.append(group)
    fields = {"PerFrameFunctionalGroupsSequence": Sequence(groups)}
    path = write(tmp_path / "a.dcm", frames, **fields)
    items = make(path).items()
    assert [item.id for item in items] == ["a.dcm#0", "a.dcm#1", "a.dcm#2"]
    for item, values, intercept in zip(items, frames, (-1024, 0, 10), strict=True):
        np.testing.assert_array_equal(grey(item), by_hand(values + intercept, -1000, 1000))


def test_colour_is_read_as_it_is(tmp_path, rng):
    pixels = rng.integers(0, 256, (16, 20, 3), dtype=np.uint8)
    [item] = make(write(tmp_path / "a.dcm", pixels, Modality="ES")).items()
    assert item.group == "endoscopy"
    np.testing.assert_array_equal(item.load().rgb, pixels)


def test_patients_are_told_apart_without_their_identifier(tmp_path, stored):
    for name, patient in (("a", "SECRET-17"), ("b", "SECRET-17"), ("c", "SECRET-18"), ("d", "")):
        write(tmp_path / f"{name}.dcm", stored, PatientID=patient)
    dataset = make(tmp_path)
    a, b, c, d = (item.patient for item in dataset.items())
    assert a == b != c
    assert d is None
    assert "SECRET" not in repr(dataset)


def test_a_missing_decoder_is_named_with_the_remedy(tmp_path, stored):
    from pydicom.encaps import encapsulate

    path = write(tmp_path / "a.dcm", stored)
    data = dcmread(path)
    data.file_meta.TransferSyntaxUID = JPEGLSLossless
    data.PixelData = encapsulate([b"\xff\xd8\xff\xd9"])
    data["PixelData"].is_undefined_length = True
    data.save_as(path)
    with pytest.raises(MissingPrerequisite, match=r"a\.dcm: no decoder for JPEG-LS.*pip install"):
        make(path).items()[0].load()


def test_bad_files_are_listed_and_good_ones_kept(tmp_path, stored):
    write(tmp_path / "good.dcm", stored)
    for name, keyword in (("empty", "PixelData"), ("other", "Modality")):
        path = write(tmp_path / f"{name}.dcm", stored)
        data = dcmread(path)
        delattr(data, keyword)
        data.save_as(path)
    cut = write(tmp_path / "cut.dcm", stored)
    cut.write_bytes(cut.read_bytes()[:-500])
    (tmp_path / "text.dcm").write_text("not an image")
    (tmp_path / "notes.txt").write_text("left out")
    store = ingest(make(tmp_path))
    assert [row.id for row in store.rows] == ["good.dcm"]
    reasons = {failure.id: failure.reason for failure in store.failures}
    assert sorted(reasons) == ["cut.dcm", "empty.dcm", "other.dcm", "text.dcm"]
    assert "without pixels" in reasons["empty.dcm"]
    assert "modality ''" in reasons["other.dcm"]
    assert "not a readable DICOM" in reasons["text.dcm"]
    assert all(str(tmp_path / name) in reason for name, reason in reasons.items())


def test_deep_pixels_without_a_window_are_refused(tmp_path, stored):
    path = write(tmp_path / "a.dcm", stored, Modality="DX")
    with pytest.raises(UsageError, match=r"16 bits and no window.*dicom@LOW\.\.HIGH"):
        make(path).items()[0].load()


@pytest.mark.parametrize("variant", ["lung", "5..5", "7..1", "nan..3", "1.."])
def test_a_wrong_window_is_refused(tmp_path, stored, variant):
    path = write(tmp_path / "a.dcm", stored)
    with pytest.raises(UsageError, match="neither 'file' nor a window"):
        make(path, variant)


def test_another_window_is_another_cache_entry(tmp_path, stored):
    path = write(tmp_path / "a.dcm", stored)
    assert ingest(make(path)).fingerprint != ingest(make(path, "0..100")).fingerprint


def test_the_real_files_give_their_hounsfield_units(real_data):
    dataset = make(real_data / "volumes")
    items = dataset.items()
    names = {item.id.partition("#")[0] for item in items}
    assert len(names) == 11
    assert sum(item.group == "mri" for item in items) == 4 + 10
    for item in (item for item in items if item.group == "ct"):
        data = dcmread(real_data / "volumes" / item.id)
        values = data.pixel_array * float(data.RescaleSlope) + float(data.RescaleIntercept)
        np.testing.assert_array_equal(grey(item), by_hand(values, -1000, 1000))
    frames = dcmread(real_data / "volumes/dicom_mr/emri_small.dcm").pixel_array
    chosen = next(item for item in items if item.id.endswith("emri_small.dcm#7"))
    limits = np.percentile(frames[7], [0.5, 99.5])
    np.testing.assert_array_equal(grey(chosen), by_hand(frames[7].astype(float), *limits))
    pair = {item.id: grey(item) for item in items if "MR_small" in item.id}
    np.testing.assert_array_equal(*pair.values())


def test_a_palette_gives_the_colours_it_names(tmp_path, rng):
    pixels = rng.integers(0, 256, (16, 20), dtype=np.uint8)
    ramps = [rng.permutation(256).astype(np.uint8) for _ in range(3)]
    fields = {"PhotometricInterpretation": "PALETTE COLOR", "Modality": "US"}
    for colour, ramp in zip(("Red", "Green", "Blue"), ramps, strict=True):
        fields[f"{colour}PaletteColorLookupTableDescriptor"] = [256, 0, 8]
        fields[f"{colour}PaletteColorLookupTableData"] = ramp.tobytes()
    rgb = make(write(tmp_path / "a.dcm", pixels, **fields)).items()[0].load().rgb
    np.testing.assert_array_equal(rgb, np.stack([ramp[pixels] for ramp in ramps], axis=-1))

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from medbench.harness.curation.dicom_series import group_series, header, read_stack
from medbench.harness.curation.job import Job, run
from medbench.harness.curation.thresholds import packaged_thresholds
from medbench.harness.datasets.nifti_volume import volume

SERIES = generate_uid()
ORIENTATIONS = {
    "axial": ([1, 0, 0, 0, 1, 0], lambda v, k: v[::-1, ::-1, k].T),
    "coronal": ([1, 0, 0, 0, 0, -1], lambda v, k: v[::-1, k, ::-1].T),
    "sagittal": ([0, 1, 0, 0, 0, -1], lambda v, k: v[k, ::-1, ::-1].T),
}
"""Direction cosines (to the patient's left, back, head), and the slice of a RAS+ volume so held."""


def write(path, pixels, *, orientation=(1, 0, 0, 0, 1, 0), position=None, **facts):
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    data = Dataset()
    data.file_meta = meta
    data.SOPClassUID, data.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
    data.Modality, data.PatientID, data.SeriesInstanceUID = "CT", "p1", SERIES
    data.Rows, data.Columns = pixels.shape
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated = data.BitsStored = 16
    data.HighBit, data.PixelRepresentation = 15, 1
    data.RescaleSlope, data.RescaleIntercept = 1, -1024
    if position is not None:
        data.ImageOrientationPatient = list(orientation)
        data.ImagePositionPatient = list(position)
    data.PixelData = (np.ascontiguousarray(pixels) + 1024).astype(np.int16).tobytes()
    for name, value in facts.items():
        setattr(data, name, value)
    path.parent.mkdir(parents=True, exist_ok=True)
    data.save_as(path, enforce_file_format=True)
    return path


def position(axis, k):
    """Of slice `k` in DICOM's coordinates: x and y count the other way than in RAS+."""
    return [sign * k * (place == axis) for place, sign in enumerate((-1, -1, 1))]


@pytest.mark.parametrize("plane", ORIENTATIONS)
def test_slices_in_any_plane_and_order_become_the_same_ras_volume(tmp_path, rng, plane):
    values = rng.integers(-1000, 1000, (9, 10, 11))
    orientation, cut = ORIENTATIONS[plane]
    axis = ("sagittal", "coronal", "axial").index(plane)
    order = rng.permutation(values.shape[axis])
    for number, k in enumerate(order):
        place = position(axis, int(k))
        write(tmp_path / f"{number}.dcm", cut(values, k), orientation=orientation, position=place)
    (series,) = group_series([header(path) for path in sorted(tmp_path.glob("*.dcm"))])
    found, frames = read_stack([one.path for one in series])
    assert frames is None
    np.testing.assert_array_equal(found, values)


def test_one_file_stays_as_it_is_stored(tmp_path, rng):
    values = rng.integers(-1000, 1000, (12, 14))
    path = write(tmp_path / "a.dcm", values, position=[0, 0, 5])
    found, plane = read_stack([path])
    assert plane == "axial"
    np.testing.assert_array_equal(found[0], values)


@pytest.mark.parametrize(
    ("facts", "groups"),
    [
        ({"position": [0, 0, 1]}, 1),
        ({"position": [0, 0, 0]}, 2),
        ({}, 2),
        ({"position": [0, 0, 1], "SeriesInstanceUID": "1.2.3"}, 2),
        ({"position": [0, 0, 1], "PatientID": "p2"}, 2),
        ({"position": [0, 1, 0], "orientation": (1, 0, 0, 0, 0, -1)}, 2),
    ],
)
def test_only_slices_of_one_series_with_their_own_places_form_a_volume(
    tmp_path, rng, facts, groups
):
    values = rng.integers(-1000, 1000, (12, 14))
    first = write(tmp_path / "a.dcm", values, position=[0, 0, 0])
    second = write(tmp_path / "b.dcm", values, **facts)
    assert len(group_series([header(first), header(second)])) == groups


def test_the_real_series_equals_the_nifti_that_was_packed_from_it(real_data):
    pytest.importorskip("nibabel")
    volumes = real_data / "volumes"
    files = sorted((volumes / "dicom_ct_series").glob("*.dcm"))
    (series,) = group_series([header(path) for path in files])
    found, _ = read_stack([one.path for one in series])
    np.testing.assert_array_equal(found, volume(volumes / "nifti_ct" / "DERIVED_ct_3slice.nii.gz"))


KEPT = {
    "dicom_ct/CT1_UNC.dcm": "axial",
    "dicom_ct/CT2_UNC.dcm": "axial",
    "dicom_ct/CT_small.dcm": "axial",
    "dicom_ct_series/01.dcm": "axial",
    "dicom_mr/MR1_UNC.dcm": "axial",
    "dicom_mr/MR-SIEMENS-DICOM-WithOverlays.dcm": "axial",
}
SMALL = {
    "dicom_mr/MR_small.dcm",
    "dicom_mr/MR_small_jp2klossless.dcm",
    "dicom_mr/emri_small.dcm",
}
"""64 pixels a side."""


def test_of_the_real_dicom_files_exactly_the_small_ones_are_rejected(real_data, tmp_path, curate):
    curate(f"dicom:{real_data}/volumes")
    table = pd.read_parquet(tmp_path / "out" / "candidates.parquet")
    kept = table[table.kept]
    assert dict(zip(kept.source_file, kept.plane, strict=True)) == KEPT
    rejected = table[~table.kept]
    assert set(rejected.reason) == {"minimum-side"}
    assert set(rejected.source_file) == SMALL | {"dicom_ct_series/01.dcm"}
    assert set(rejected.plane[rejected.source_file == "dicom_ct_series/01.dcm"]) == {
        "coronal",
        "sagittal",
    }
    assert (table.source_file == "dicom_mr/emri_small.dcm").sum() == 2


def test_of_the_real_ct_volumes_the_phantom_without_air_is_rejected(real_data, tmp_path, curate):
    pytest.importorskip("nibabel")
    curate(f"nifti@ct:{real_data}/volumes/nifti_ct")
    table = pd.read_parquet(tmp_path / "out" / "candidates.parquet")
    phantom = table[table.source_file == "CT_pitch.nii.gz"]
    assert phantom[phantom.plane == "axial"].reason.unique().tolist() == ["ct-not-hounsfield"]
    assert not phantom.kept.any()
    (kept,) = table[table.kept].itertuples()
    assert (kept.source_file, kept.plane) == ("DERIVED_ct_3slice.nii.gz", "axial")


def test_of_the_real_mr_volumes_all_are_too_small(real_data, tmp_path, curate):
    nibabel = pytest.importorskip("nibabel")
    folder = real_data / "volumes" / "nifti_mr"
    curate(f"nifti@mri:{folder}")
    table = pd.read_parquet(tmp_path / "out" / "candidates.parquet")
    assert set(table.reason) == {"minimum-side"}
    found = table.groupby(["source_file", "plane"]).size().to_dict()
    expected = {}
    for path in folder.iterdir():
        shape = nibabel.as_closest_canonical(nibabel.load(path)).shape[:3]
        for plane, count in zip(("sagittal", "coronal", "axial"), shape, strict=True):
            expected[path.name, plane] = -(-count // 5)
    assert found == expected


def test_with_a_lower_side_real_mr_slices_are_kept_by_their_signal(real_data, tmp_path, settings):
    nibabel = pytest.importorskip("nibabel")
    rules = packaged_thresholds()
    side = rules.meditok.minimum_side.model_copy(update={"value": 64})
    lower = rules.meditok.model_copy(update={"minimum_side": side})
    own = settings()
    own = replace(own, thresholds=rules.model_copy(update={"meditok": lower}))
    path = real_data / "volumes" / "nifti_mr" / "avg152T1_LR_nifti.nii.gz"
    run(Job((f"nifti@mri:{path}",), tmp_path / "out", own))
    table = pd.read_parquet(tmp_path / "out" / "candidates.parquet")
    values = np.asarray(nibabel.as_closest_canonical(nibabel.load(path)).dataobj, dtype=float)
    low, high = np.percentile(values, (0.5, 99.5))
    signal = values > low + 0.1 * (high - low)
    seen: list[bool] = []
    for axis, plane in enumerate(("sagittal", "coronal", "axial")):
        enough = [np.take(signal, k, axis).mean() >= 0.1 for k in range(0, values.shape[axis], 5)]
        passed = table[table.plane == plane].reason.fillna("") != "mr-little-signal"
        assert passed.tolist() == enough
        assert table[table.plane == plane].kept.sum() > 10
        seen += enough
    assert not all(seen)


def test_a_film_gives_every_fifth_frame_and_bad_files_one_row_each(tmp_path, rng, curate):
    film = rng.integers(0, 256, (11, 140, 150), dtype=np.uint8)
    path = write(tmp_path / "d" / "film.dcm", film[0].astype(int))
    data = dcmread(path)
    data.Modality, data.NumberOfFrames, data.PixelRepresentation = "US", 11, 0
    data.BitsAllocated = data.BitsStored = 8
    data.HighBit = 7
    del data.RescaleSlope, data.RescaleIntercept
    data.PixelData = film.tobytes()
    data.save_as(path)
    write(tmp_path / "d" / "seg.dcm", np.zeros((140, 150), int), Modality="SEG")
    (tmp_path / "d" / "torn.dcm").write_bytes(path.read_bytes()[:500])
    (tmp_path / "d" / "text.dcm").write_text("no DICOM")
    curate(str(tmp_path / "d"))
    table = pd.read_parquet(tmp_path / "out" / "candidates.parquet")
    kept = table[table.kept]
    assert kept.id.tolist() == ["d/film.dcm#frame/0", "d/film.dcm#frame/5", "d/film.dcm#frame/10"]
    assert set(kept.modality) == {"ultrasound"}
    for path, expected in zip(kept.path, film[::5], strict=True):
        with Image.open(tmp_path / "out" / path) as image:
            np.testing.assert_array_equal(np.asarray(image), expected)
    bad = table[~table.kept].set_index("source_file")
    assert set(bad.reason) == {"unreadable"}
    assert set(bad.index) == {"seg.dcm", "torn.dcm", "text.dcm"}
    assert "SEG" in bad.detail["seg.dcm"]


def test_the_stored_values_of_a_real_ct_are_its_hounsfield_units(real_data, tmp_path, curate):
    curate(f"dicom:{real_data}/volumes/dicom_ct")
    index = pd.read_parquet(tmp_path / "out" / "index.parquet").set_index("source_file")
    for name, path in index.path.items():
        data = dcmread(real_data / "volumes" / "dicom_ct" / name)
        expected = data.pixel_array.astype(int) * int(data.RescaleSlope) + int(
            data.RescaleIntercept
        )
        with Image.open(tmp_path / "out" / path) as image:
            np.testing.assert_array_equal(
                np.asarray(image).astype(int) - 1024, expected.clip(-1024)
            )

"""Every real volume through the public loaders, against pydicom and nibabel read by hand."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from pydicom import dcmread

import medbench

CT_FILES = (
    *(f"dicom_ct/{name}.dcm" for name in ("CT1_UNC", "CT2_UNC", "CT_small")),
    *(f"dicom_ct_series/{name}.dcm" for name in ("01", "02", "03")),
)
MR_FILES = (
    *(f"dicom_mr/{name}.dcm" for name in ("MR1_UNC", "MR_small", "emri_small")),
    *(
        f"dicom_mr/{name}.dcm"
        for name in ("MR-SIEMENS-DICOM-WithOverlays", "MR_small_jp2klossless")
    ),
)
NIFTI = {
    "nifti_ct/CT_pitch.nii.gz": "ct,0..255",
    "nifti_ct/DERIVED_ct_3slice.nii.gz": "ct",
    **{
        f"nifti_mr/{name}": "mri"
        for name in (
            "anatomical.nii",
            "functional.nii",
            "example4d.nii.gz",
            "example_nifti2.nii.gz",
            "avg152T1_LR_nifti.nii.gz",
        )
    },
}
AXES = {"sagittal": 0, "coronal": 1, "axial": 2}


def shown(values, low, high):
    """float64 intensities -> bytes: a linear window, rounded half to even and clipped."""
    return np.rint((values.astype(np.float64) - low) * (255 / (high - low))).clip(0, 255)


def loaded(reference: str) -> dict[str, np.ndarray]:
    return {item.id: item.load().rgb for item in medbench.load_dataset(reference).items()}


@pytest.mark.parametrize("name", CT_FILES)
def test_ct_files_are_shown_in_hounsfield_units(real_data, name):
    path = real_data / "volumes" / name
    data = dcmread(path)
    hounsfield = data.pixel_array * float(data.RescaleSlope) + float(data.RescaleIntercept)
    [image] = loaded(f"dicom:{path}").values()
    assert (image == image[..., :1]).all()
    np.testing.assert_array_equal(image[..., 0], shown(hounsfield, -1000, 1000))


@pytest.mark.parametrize("name", MR_FILES)
def test_mr_files_are_shown_between_the_percentiles_of_each_frame(real_data, name):
    path = real_data / "volumes" / name
    frames = dcmread(path).pixel_array.astype(np.float64)
    frames = frames if frames.ndim == 3 else frames[None]
    images = list(loaded(f"dicom:{path}").values())
    assert len(images) == len(frames)
    for image, frame in zip(images, frames, strict=True):
        # A positive slope moves the percentiles with the values, so that it changes no byte but
        # where the last bit of a product falls on a half.
        low, high = np.percentile(frame, (0.5, 99.5))
        apart = np.abs(image[..., 0].astype(int) - shown(frame, low, high))
        assert apart.max() <= 1
        assert (apart > 0).mean() < 1e-3


@pytest.mark.parametrize("name", NIFTI)
def test_nifti_slices_of_all_planes_are_the_volumes_own(real_data, name):
    path: Path = real_data / "volumes" / name
    volume = np.asarray(nib.as_closest_canonical(nib.load(path)).dataobj, dtype=np.float32)
    volume = volume[..., 0] if volume.ndim == 4 else volume
    modality, _, window = NIFTI[name].partition(",")
    if window:
        low, high = (float(part) for part in window.split(".."))
    elif modality == "ct":
        low, high = -1000.0, 1000.0
    else:
        low, high = np.percentile(volume, (0.5, 99.5))
    seen = 0
    for plane, axis in AXES.items():
        variant = ",".join(part for part in (modality, plane, window) if part)
        if min(size for other, size in enumerate(volume.shape) if other != axis) < 8:
            continue
        for identifier, image in loaded(f"nifti@{variant}:{path}").items():
            index = int(identifier.rpartition("/")[2])
            # The front or the head is at the top, the patient's right at the left.
            by_hand = volume.take(index, axis)[::-1, ::-1].T
            np.testing.assert_array_equal(image[..., 0], shown(by_hand, low, high))
            seen += 1
    assert seen


def test_a_refused_medmnist_file_is_read_bit_by_bit_when_it_is_allowed(real_data, monkeypatch):
    with pytest.raises(medbench.UsageError, match="not the official file"):
        medbench.load_dataset("breastmnist@28", data_root=real_data)
    monkeypatch.setenv("MEDBENCH_ALLOW_MODIFIED", "1")
    for name in ("breastmnist", "pneumoniamnist"):
        stored = np.load(real_data / "medmnist" / f"{name}.npz")["val_images"]
        items = medbench.load_dataset(f"{name}@28-val", data_root=real_data).items()
        assert len(items) == len(stored)
        for item, image in zip(items, stored, strict=True):
            np.testing.assert_array_equal(item.load().rgb[..., 0], image)


@pytest.mark.parametrize(
    ("name", "modality"),
    [("brainmri4_28_derived", "mri"), ("ham_malignant_28_derived", "dermoscopy")],
)
def test_derived_files_are_read_bit_by_bit(real_data, name, modality):
    path = real_data / "derived_classification" / f"{name}.npz"
    stored = np.load(path)["val_images"]
    items = medbench.load_dataset(f"npz@{modality}-val:{path}").items()
    assert len(items) == len(stored)
    for item, image in zip(items, stored, strict=True):
        found = item.load().rgb
        np.testing.assert_array_equal(found if image.ndim == 3 else found[..., 0], image)

from __future__ import annotations

import sys

import numpy as np
import pytest

from medbench.harness.datasets.nifti import build
from medbench.harness.datasets.store import ingest
from medbench.harness.errors import MissingPrerequisite, UsageError

nib = pytest.importorskip("nibabel")


@pytest.fixture
def values(rng):
    return rng.integers(-1000, 1000, (10, 12, 14)).astype(np.int16)


def save(path, values, affine=None):
    nib.save(nib.Nifti1Image(values, np.eye(4) if affine is None else affine), path)
    return path


def make(path, variant="ct"):
    return build(f"nifti@{variant}:{path}", argument=str(path), variant=variant)


def slices(path, variant="ct"):
    return {
        item.id.partition("#")[2]: item.load().rgb[..., 0] for item in make(path, variant).items()
    }


def shown(values, low=-1000, high=1000):
    levels = (values.astype(float) - low) * (255 / (high - low))
    return np.rint(levels).clip(0, 255).astype(np.uint8)


def test_slices_lie_as_a_radiologist_sees_them(tmp_path, values):
    found = slices(save(tmp_path / "a.nii.gz", values), "ct,all")
    assert len(found) == 10 + 12 + 14
    top_left = {
        "axial/003": values[9, 11, 3],  # right, front
        "coronal/004": values[9, 4, 13],  # right, head
        "sagittal/005": values[5, 11, 13],  # front, head
    }
    shapes = {"axial/003": (12, 10), "coronal/004": (14, 10), "sagittal/005": (14, 12)}
    for name, value in top_left.items():
        assert found[name].shape == shapes[name]
        assert found[name][0, 0] == shown(value)
        assert found[name][0, 0] != found[name][-1, -1]


@pytest.mark.parametrize("flips", [(-1, 1, 1), (1, -1, 1), (1, 1, -1), (-1, -1, -1)])
def test_the_stored_orientation_does_not_matter(tmp_path, values, flips):
    plain = slices(save(tmp_path / "a.nii", values), "ct,all")
    stored = values[:: flips[0], :: flips[1], :: flips[2]].transpose(2, 0, 1)
    affine = np.zeros((4, 4))
    for world, column in ((0, 1), (1, 2), (2, 0)):
        affine[world, column] = flips[world]
    affine[3, 3] = 1
    other = slices(save(tmp_path / "b.nii", np.ascontiguousarray(stored), affine), "ct,all")
    assert plain.keys() == other.keys()
    for name in plain:
        np.testing.assert_array_equal(plain[name], other[name])


def test_mri_is_shown_between_percentiles_of_the_volume(tmp_path, values):
    found = slices(save(tmp_path / "a.nii", values), "mri")
    want = shown(values[::-1, ::-1, 6].T, *np.percentile(values, [0.5, 99.5]))
    np.testing.assert_array_equal(found["axial/006"], want)


def test_ct_without_negative_values_needs_a_window(tmp_path, values):
    path = save(tmp_path / "a.nii", np.abs(values))
    with pytest.raises(UsageError, match="not Hounsfield units"):
        slices(path)
    want = shown(np.abs(values)[::-1, ::-1, 6].T, 0, 255)
    np.testing.assert_array_equal(slices(path, "ct,0..255")["axial/006"], want)


def test_nan_is_refused_with_its_count_and_other_volumes_stay(tmp_path, values):
    save(tmp_path / "good.nii", values)
    wrong = values.astype(np.float32)
    wrong[0, 0, :3] = np.nan
    wrong[5, 5, 5] = np.inf
    save(tmp_path / "wrong.nii", wrong)
    cut = save(tmp_path / "cut.nii.gz", values)
    cut.write_bytes(cut.read_bytes()[:-900])
    (tmp_path / "text.nii").write_text("not a volume")
    store = ingest(make(tmp_path))
    assert {row.patient for row in store.rows} == {"good.nii"}
    assert len(store) == 14
    reasons = {failure.id.partition("#")[0]: failure.reason for failure in store.failures}
    assert f"{tmp_path / 'wrong.nii'}: 4 of 1680 voxels are NaN or infinite" in reasons["wrong.nii"]
    assert str(cut) in reasons["cut.nii.gz"]
    assert "not a readable NIfTI" in reasons["text.nii"]


def test_planes_too_thin_to_show_are_left_out_of_all(tmp_path, values):
    path = save(tmp_path / "a.nii", values[:, :, :3])
    assert {name.partition("/")[0] for name in slices(path, "ct,all")} == {"axial"}
    with pytest.raises(UsageError, match="coronal slices of 10x3"):
        slices(path, "ct,coronal")


@pytest.mark.parametrize(
    ("variant", "message"),
    [
        ("", "does not say the modality"),
        ("cat", "Did you mean 'ct'"),
        ("ct,top", "'top' is neither a plane"),
        ("ct,5..1", "'5..1' is neither a plane"),
    ],
)
def test_wrong_options_are_refused(tmp_path, values, variant, message):
    path = save(tmp_path / "a.nii", values)
    with pytest.raises(UsageError, match=message):
        make(path, variant)


def test_an_absent_library_is_named_with_the_remedy(tmp_path, values, monkeypatch):
    path = save(tmp_path / "a.nii", values)
    monkeypatch.setitem(sys.modules, "nibabel", None)
    with pytest.raises(MissingPrerequisite, match=r"pip install 'medbench\[volumes\]'"):
        make(path)


def test_the_real_volumes_are_read_and_ct_has_its_hounsfield_units(real_data):
    root = real_data / "volumes"
    assert len(make(root / "nifti_mr", "mri").volumes) == 5
    for source in make(root / "nifti_mr", "mri").volumes:
        image = nib.as_closest_canonical(nib.load(source.path))
        data = image.get_fdata()
        data = data[..., 0] if data.ndim == 4 else data
        found = slices(source.path, "mri")["axial/001"].astype(int)
        want = shown(data[::-1, ::-1, 1].T, *np.percentile(data, [0.5, 99.5])).astype(int)
        assert np.abs(found - want).max() <= 1
    path = root / "nifti_ct" / "DERIVED_ct_3slice.nii.gz"
    data = nib.as_closest_canonical(nib.load(path)).get_fdata()
    assert data.min() < -900
    np.testing.assert_array_equal(slices(path)["axial/002"], shown(data[::-1, ::-1, 2].T))
    pitch = root / "nifti_ct" / "CT_pitch.nii.gz"
    found = slices(pitch, "ct,0..255")
    data = nib.as_closest_canonical(nib.load(pitch)).get_fdata()
    assert len(found) == 58
    planes = [name for name in found if name.startswith("axial/")]
    assert planes
    for name in planes:
        values = data[::-1, ::-1, int(name.partition("/")[2])].T
        np.testing.assert_array_equal(found[name], shown(values, 0, 255))

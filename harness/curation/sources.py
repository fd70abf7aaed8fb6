"""SOURCE references to units: folders, tables, DICOM and NIfTI, as `--dataset` writes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ..datasets.dicom import MODALITY_OF, dicom_files, pseudonym
from ..datasets.dicom import SUFFIXES as DICOM_SUFFIXES
from ..datasets.folder import check_modalities, find_path, image_files
from ..datasets.images import SUFFIXES
from ..datasets.nifti_volume import nibabel
from ..datasets.path_globs import files_below
from ..errors import MissingPrerequisite, UsageError
from ..vocabulary import MODALITIES
from .dicom_series import Header, group_series, header
from .table_rows import TABLES, table_units
from .unit import Unit

READERS = ("folder", "manifest", "jsonl", "dicom", "nifti")
_NIFTI = (".nii", ".nii.gz")
_FORMS = (
    "FOLDER, TABLE.csv, TABLE.parquet, TABLE.jsonl, folder:PATH, folder@MODALITY:PATH, "
    "manifest:TABLE, jsonl:TABLE, dicom:PATH or nifti@MODALITY:PATH"
)


def units_of(references: Sequence[str], *, data_root: Path | None = None) -> list[Unit]:
    """The units of all sources, in a fixed order; sources get short names that differ.

    Raises:
        MissingPrerequisite: a path is absent, or NIfTI is asked for without nibabel.
        UsageError: not a form of SOURCE, or nothing to read in one.
    """
    taken: set[str] = set()
    found: list[Unit] = []
    for reference in references:
        reader, variant, root = _resolve(reference, data_root)
        plain = root.name.removesuffix(root.suffix) if root.is_file() else root.name
        name, number = plain, 2
        while name in taken:
            name, number = f"{plain}-{number}", number + 1
        taken.add(name)
        units = _units(reference, reader, variant, root, name)
        if not units:
            message = f"{reference}: no images, DICOM or NIfTI files in {root}"
            raise UsageError(message)
        found.extend(units)
    return found


def roots_of(references: Sequence[str], *, data_root: Path | None = None) -> list[Path]:
    """The file or folder of each source."""
    return [_resolve(reference, data_root)[2] for reference in references]


def _resolve(reference: str, data_root: Path | None) -> tuple[str, str, Path]:
    head, separator, rest = reference.partition(":")
    name, _, variant = head.partition("@")
    if separator and name in READERS:
        return name, variant, find_path(rest, data_root, what=reference)
    try:
        root = find_path(reference, data_root, what="SOURCE")
    except MissingPrerequisite as error:
        message = f"{error}. SOURCE is {_FORMS}"
        raise MissingPrerequisite(message) from error
    if root.is_file() and root.suffix.lower() in TABLES:
        return "manifest", "", root
    return "any", "", root


def _units(reference: str, reader: str, variant: str, root: Path, name: str) -> list[Unit]:
    if reader in {"manifest", "jsonl"}:
        return table_units(root, name, split=variant)
    if reader == "nifti":
        return _nifti(reference, variant, root, name)
    if variant and reader != "folder":
        message = f"{reference}: curation takes no window; CT keeps all Hounsfield units"
        raise UsageError(message)
    if reader == "dicom":
        return _dicom(root, name)
    if reader == "folder":
        return _images(reference, variant, root, name)
    if root.is_file():
        if root.suffix.lower() in DICOM_SUFFIXES:
            return _dicom(root, name)
        message = f"{reference}: one file does not say what it is. SOURCE is {_FORMS}"
        raise UsageError(message)
    if any(file.lower().endswith(_NIFTI) for file in files_below(root)):
        message = (
            f"{reference}: NIfTI does not say the modality; give each folder of volumes as "
            f"nifti@ct:PATH, and the rest as dicom:PATH or folder:PATH"
        )
        raise UsageError(message)
    dicom = _dicom(root, name)
    loose = [path for path in root.iterdir() if path.suffix.lower() in SUFFIXES]
    images = _images(reference, "", root, name) if loose or image_files(root) else []
    return [*dicom, *images]


def _images(reference: str, modality: str, root: Path, source: str) -> list[Unit]:
    """`folder@ct:PATH` says one modality for all; else the first directory names it."""
    if modality:
        check_modalities([modality], where=reference)
        names = [n for n in files_below(root) if Path(n).suffix.lower() in SUFFIXES]
        return [Unit(source, n, "image", (str(root / n),), modality) for n in names]
    paths = image_files(root)
    if not paths:
        message = (
            f"{reference}: nothing says the modality of these images. Put them into one directory "
            f"per modality, or give folder@MODALITY:PATH. Modalities: {', '.join(MODALITIES)}"
        )
        raise UsageError(message)
    names = [path.relative_to(root).as_posix() for path in paths]
    groups = [name.partition("/")[0] for name in names]
    check_modalities(sorted(set(groups)), where=str(root))
    return [
        Unit(source, name, "image", (str(path),), group)
        for name, path, group in zip(names, paths, groups, strict=True)
    ]


def _dicom(root: Path, source: str) -> list[Unit]:
    paths = dicom_files(root) if root.is_dir() else [root]
    readable: list[Header] = []
    broken: list[Unit] = []
    for path in paths:
        name = path.relative_to(root).as_posix() if path != root else path.name
        try:
            one = header(path)
        except UsageError as error:
            problem = str(error).replace(str(path), name)
            broken.append(Unit(source, name, "dicom", (str(path),), "", problem=problem))
            continue
        if one.modality in MODALITY_OF:
            readable.append(one)
        else:
            problem = f"{name}: modality {one.modality!r} is none of {', '.join(MODALITY_OF)}"
            broken.append(Unit(source, name, "dicom", (str(path),), "", problem=problem))
    units = []
    for series in group_series(readable):
        files = tuple(str(h.path) for h in series)
        first = min(series, key=lambda h: str(h.path))
        name = first.path.relative_to(root).as_posix() if first.path != root else root.name
        patient = pseudonym(first.patient_id)
        units.append(
            Unit(source, name, "dicom", files, MODALITY_OF[first.modality], patient=patient)
        )
    return sorted([*units, *broken], key=lambda unit: unit.name)


def _nifti(reference: str, modality: str, root: Path, source: str) -> list[Unit]:
    if modality not in MODALITIES:
        message = (
            f"{reference}: NIfTI does not say the modality; give it and nothing else: "
            f"nifti@ct:PATH. Modalities: {', '.join(MODALITIES)}"
        )
        raise UsageError(message)
    nibabel()
    names = [root.name] if root.is_file() else files_below(root)
    names = [name for name in names if name.lower().endswith(_NIFTI)]
    base = root.parent if root.is_file() else root
    return [
        Unit(source, n, "nifti", (str(base / n),), modality, patient=f"{source}/{n}") for n in names
    ]


def with_masks(units: Sequence[Unit], folders: Sequence[Path]) -> list[Unit]:
    """Give each unit the mask of the same relative name in each of the folders.

    Raises:
        MissingPrerequisite: no such folder.
        UsageError: not one mask fits an image.
    """
    for folder in folders:
        if not folder.is_dir():
            message = f"--masks: {folder} is not a directory"
            raise MissingPrerequisite(message)
    if not folders:
        return list(units)
    tables = [{_stem(n): str((f / n).absolute()) for n in files_below(f)} for f in folders]
    found = [
        replace(u, masks=tuple(t[_stem(u.name)] for t in tables if _stem(u.name) in t))
        for u in units
    ]
    if not any(unit.masks for unit in found):
        message = (
            f"--masks: no file in {', '.join(map(str, folders))} has the relative name of an image "
            f"(looked for {_stem(units[0].name)!r})"
        )
        raise UsageError(message)
    return found


def _stem(name: str) -> str:
    for suffix in (".nii.gz", ".nii"):
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return name.rpartition(".")[0] or name

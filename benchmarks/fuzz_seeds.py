"""Small valid files of each binary format, for the fuzzer to change."""

from __future__ import annotations

import io
import tarfile
from typing import Any

import numpy as np


def _pixels(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(1, 256, shape, dtype=np.uint8)


def _image(kind: str, array: np.ndarray, **options: Any) -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(array).save(file, kind, **options)
    return file.getvalue()


def images() -> list[bytes]:
    """One of each format, and what needs more than eight bits."""
    grey, colour = _pixels(16, 16), _pixels(16, 16, 3)
    return [
        *(_image(kind, colour) for kind in ("PNG", "JPEG", "BMP", "TIFF", "WEBP", "AVIF", "GIF")),
        _image("PNG", _pixels(16, 16, 4)),
        _image("PNG", grey.astype(np.uint16) * 9),
        _image("TIFF", grey.astype(np.float32)),
        _image("TIFF", colour, compression="tiff_lzw"),
        _image("TIFF", colour, compression="jpeg"),
        _image("TIFF", grey, compression="tiff_adobe_deflate"),
        _image("JPEG", colour, progressive=True),
    ]


def dicoms() -> list[bytes]:
    """Native, deflated, in several frames, in colour, and compressed."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.encaps import encapsulate
    from pydicom.uid import (
        DeflatedExplicitVRLittleEndian,
        ExplicitVRLittleEndian,
        ImplicitVRLittleEndian,
        JPEGBaseline8Bit,
        RLELossless,
    )

    def made(syntax: Any, pixels: np.ndarray, **fields: Any) -> bytes:
        data = Dataset()
        data.file_meta = FileMetaDataset()
        data.file_meta.TransferSyntaxUID = syntax
        data.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
        data.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
        data.Modality, data.PatientID = "CT", "p"
        data.Rows, data.Columns = 16, 16
        data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
        data.BitsAllocated = data.BitsStored = pixels.dtype.itemsize * 8
        data.HighBit, data.PixelRepresentation = data.BitsStored - 1, 0
        data.RescaleSlope, data.RescaleIntercept = "1", "-1024"
        data.PixelData = pixels.tobytes()
        for name, value in fields.items():
            setattr(data, name, value)
        if syntax.is_compressed and not syntax.is_deflated:
            data["PixelData"].VR = "OB"
        file = io.BytesIO()
        data.save_as(file, enforce_file_format=True)
        return file.getvalue()

    deep, colour = _pixels(16, 16).astype(np.uint16) * 9, _pixels(16, 16, 3)
    rgb = {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "PlanarConfiguration": 0}
    jpeg = encapsulate([_image("JPEG", _pixels(16, 16))])
    runs = np.zeros(64, np.uint8).tobytes() + bytes([15, *range(16)]) * 16
    return [
        made(ExplicitVRLittleEndian, deep),
        made(ImplicitVRLittleEndian, _pixels(2, 16, 16), NumberOfFrames=2),
        made(DeflatedExplicitVRLittleEndian, deep, WindowCenter="40", WindowWidth="400"),
        made(ExplicitVRLittleEndian, colour, Modality="US", **rgb),
        made(JPEGBaseline8Bit, _pixels(16, 16), Modality="CR", PixelData=jpeg),
        made(RLELossless, _pixels(16, 16), PixelData=encapsulate([b"\1\0\0\0@" + runs[5:]])),
    ]


def volumes() -> list[bytes]:
    """A CT as NIfTI-1 and NIfTI-2."""
    import nibabel as nib

    values = _pixels(9, 10, 11).astype(np.int16) - 200
    return [kind(values, np.eye(4)).to_bytes() for kind in (nib.Nifti1Image, nib.Nifti2Image)]


def arrays() -> list[bytes]:
    """Two files in MedMNIST's layout."""
    found = []
    for save in (np.savez, np.savez_compressed):
        file = io.BytesIO()
        save(file, test_images=_pixels(3, 16, 16), test_labels=np.array([[0], [1], [0]]))
        found.append(file.getvalue())
    return found


def shards() -> list[bytes]:
    """A tar file of two samples."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, data in (
            ("a.png", _image("PNG", _pixels(16, 16))),
            ("a.json", b'{"modality": "ct", "caption": "c"}'),
            ("b.jpg", _image("JPEG", _pixels(16, 16))),
            ("b.cls", b"1"),
        ):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return [file.getvalue()]


def tables() -> list[bytes]:
    """A table of image files."""
    import pandas as pd

    file = io.BytesIO()
    frame = pd.DataFrame({"path": ["a.png", "b.png"], "modality": ["ct", "mri"], "label": [1, 2]})
    frame.to_parquet(file)
    return [file.getvalue()]


def checkpoints() -> list[bytes]:
    """As torch writes them, now and before."""
    import torch

    found = []
    for zipped in (True, False):
        file = io.BytesIO()
        state = {"w": torch.arange(6.0).reshape(2, 3), "h": torch.ones(2, dtype=torch.bfloat16)}
        content = {"state_dict": state, "epoch": 3, "args": {"lr": 0.1}}
        torch.save(content, file, _use_new_zipfile_serialization=zipped)
        found.append(file.getvalue())
    return found


def tensors() -> list[bytes]:
    """A file of two tensors."""
    import torch
    from safetensors.torch import save

    return [save({"model.w": torch.arange(6.0).reshape(2, 3), "model.h": torch.ones(2).half()})]

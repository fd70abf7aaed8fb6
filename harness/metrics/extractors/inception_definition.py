"""What defines the FID Inception's features, without loading anything."""

from __future__ import annotations

FILE_NAME = "pt_inception-2015-12-05-6726825d.pth"
URL = f"https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/{FILE_NAME}"
SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
"""Of the weights file, 95,628,359 bytes."""

DIMS = 2048
INPUT_SIDE = 299

VARIANTS = ("", "tf", "clean")
"""Ways to bring an image to the network's input: pytorch-fid's (the main one), that of the
original TensorFlow code and torch-fidelity, and that of clean-fid."""

DEFINITION: dict[str, str | int | float] = {
    "name": "fid-inception-2015",
    "dims": DIMS,
    "network": "pytorch-fid InceptionV3, average of the last block",
    "resize": f"bilinear to {INPUT_SIDE}, half-pixel centres, no antialias, float32",
    "input": "x * 2 / 255 - 1",
    "weights_sha256": SHA256,
}
"""All that changes the features; part of the definitions of `rfid` and `kid`."""

_CHANGES: dict[str, dict[str, str | int | float]] = {
    "": {},
    "tf": {
        "name": "fid-inception-2015-tf",
        "resize": f"bilinear to {INPUT_SIDE}, corner-aligned as in TensorFlow 1, float32",
        "input": "(x - 128) / 128",
    },
    "clean": {
        "name": "fid-inception-2015-clean",
        "resize": f"Pillow's bicubic to {INPUT_SIDE} on float channels, clipped to 0..255",
        "input": "(x - 128) / 128",
    },
}


def variant_definition(variant: str) -> dict[str, str | int | float]:
    """The definition of one of `VARIANTS`."""
    return DEFINITION | _CHANGES[variant]

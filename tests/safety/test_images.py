"""Image files whose header promises more than a machine holds, or that are something else."""

from __future__ import annotations

import io
import os
import stat
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from PIL import Image

import medbench
from medbench.harness.curation.picture import read_values
from medbench.harness.datasets.images import decode_file
from medbench.harness.datasets.store import ingest


def png_of(width, height, depth=8, colour=2):
    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(99)))


def made(kind, side=16, **options):
    file = io.BytesIO()
    pixels = np.random.default_rng(0).integers(1, 256, (side, side, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file, kind, **options)
    return bytearray(file.getvalue())


def jpeg_of(width, height):
    data = made("JPEG")
    place = data.index(b"\xff\xc0") + 5
    data[place : place + 4] = struct.pack(">HH", height, width)
    return bytes(data)


def gif_of(width, height):
    data = made("GIF")
    data[6:10] = struct.pack("<HH", width, height)
    return bytes(data)


def bmp_of(width, height):
    data = made("BMP")
    data[18:26] = struct.pack("<ii", width, height)
    return bytes(data)


def webp_of(width, height):
    data = made("WEBP", lossless=True)
    place = data.index(b"VP8L") + 9
    bits = (width - 1) | (height - 1) << 14
    data[place : place + 4] = struct.pack("<I", bits)
    return bytes(data)


def tiff_with(tag, value):
    """A TIFF in which a tag has another value."""
    data = made("TIFF")
    (start,) = struct.unpack("<I", data[4:8])
    (count,) = struct.unpack("<H", data[start : start + 2])
    for entry in range(start + 2, start + 2 + 12 * count, 12):
        if struct.unpack("<H", data[entry : entry + 2])[0] == tag:
            data[entry + 2 : entry + 12] = struct.pack("<HII", 4, 1, value)
    return bytes(data)


def pages(count):
    """A TIFF of many directories, all pointing to the same pixels."""
    page = made("TIFF")
    (start,) = struct.unpack("<I", page[4:8])
    (entries,) = struct.unpack("<H", page[start : start + 2])
    body = bytes(page[start : start + 2 + 12 * entries])
    data = bytearray(page[:start] + bytes(-start % 2))
    data[4:8] = struct.pack("<I", len(data))
    for number in range(count):
        after = len(data) + len(body) + 4
        data += body + struct.pack("<I", after if number + 1 < count else 0)
    return bytes(data)


def frames(count):
    """A GIF of many frames of a pixel each."""
    data = made("GIF")
    frame = b"\x2c" + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\x00"
    return bytes(data[:-1]) + frame * count + b"\x3b"


def text_bomb():
    """A PNG whose comment is a gigabyte of blanks, packed."""
    head, tail = png_of(16, 16)[:33], png_of(16, 16)[33:]
    body = b"zTXta\x00\x00" + zlib.compress(bytes(64 << 20), 9)
    return (
        head + struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body)) + tail
    )


def profile_bomb():
    head, tail = png_of(16, 16)[:33], png_of(16, 16)[33:]
    body = b"iCCPa\x00\x00" + zlib.compress(bytes(64 << 20), 9)
    return (
        head + struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body)) + tail
    )


BAD = {
    "PNG of 2 billion a side": png_of(2**31 - 1, 2**31 - 1),
    "PNG just above": png_of(11_586, 11_586),
    "PNG of 16 bits, wide": png_of(2**28, 8, depth=16),
    "PNG without pixels": png_of(16, 16),
    "PNG of no width": png_of(0, 16),
    "JPEG of 65535": jpeg_of(65_535, 65_535),
    "JPEG of no height": jpeg_of(16, 0),
    "GIF of 65535": gif_of(65_535, 65_535),
    "GIF of 100,000 frames": frames(100_000),
    "BMP of 2 billion": bmp_of(2**31 - 1, 2**31 - 1),
    "BMP of negative width": bmp_of(-16, 16),
    "WebP of 16384": webp_of(16_384, 16_384),
    "TIFF of 4 billion": tiff_with(256, 2**32 - 1),
    "TIFF of huge strips": tiff_with(279, 2**32 - 1),
    "TIFF elsewhere": tiff_with(273, 2**32 - 1),
    "TIFF of many samples": tiff_with(277, 2**16 - 1),
    "TIFF of 50,000 pages": pages(50_000),
    "SVG": b"<svg xmlns='http://www.w3.org/2000/svg'><image href='file:///etc/passwd'/></svg>",
    "XML entities": b"<!DOCTYPE a [<!ENTITY b SYSTEM 'file:///etc/passwd'>]><a>&b;</a>",
    "HTML": b"<html>" * 99,
    "a zip": b"PK\x03\x04" + bytes(99),
    "only zeros": bytes(1 << 20),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_image_is_refused_in_little_memory(tmp_path, attempt, case):
    path = tmp_path / "bad.png"
    path.write_bytes(BAD[case])
    tracemalloc.start()
    # A strip that ends with the file is as good as one that ends where it should.
    attempt(lambda: decode_file(path), names=path, refused=case != "TIFF of huge strips")
    attempt(lambda: read_values(path), names=path, refused=case[:4] not in {"GIF ", "TIFF"})
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 128 << 20


@pytest.mark.parametrize("bomb", [text_bomb, profile_bomb])
def test_packed_texts_beside_the_pixels(tmp_path, attempt, bomb):
    path = tmp_path / "bad.png"
    path.write_bytes(bomb())
    attempt(lambda: decode_file(path), names=path, refused=False)


def test_a_program_in_postscript_is_not_handed_to_an_interpreter(
    tmp_path, attempt, marker, monkeypatch
):
    """Pillow gives EPS, whatever the file's suffix, to Ghostscript."""
    tools = tmp_path / "bin"
    tools.mkdir()
    script = tools / "gs"
    script.write_text(f"#!/bin/sh\nmkdir -p {marker}\n")
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    monkeypatch.setattr("PIL.EpsImagePlugin.gs_binary", None)
    folder = tmp_path / "images" / "ct"
    folder.mkdir(parents=True)
    text = "%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n%%EndComments\n(x) run\n%%EOF\n"
    for suffix in ("png", "jpg", "tif"):
        (folder / f"a.{suffix}").write_text(text)
    attempt(lambda: ingest(medbench.load_dataset(f"folder:{folder.parent}")), names=folder)
    attempt(lambda: read_values(folder / "a.png"), names=folder)


FOREIGN = ["PCX", "PPM", "TGA", "ICO", "ICNS", "SGI", "PDF", "EPS", "DDS", "IM", "MSP", "JPEG2000"]


@pytest.mark.parametrize("kind", FOREIGN)
def test_formats_that_nobody_asked_for_are_not_tried(tmp_path, attempt, kind):
    path = tmp_path / "a.png"
    try:
        Image.new("1" if kind == "MSP" else "RGB", (64, 64)).save(path, kind)
    except (OSError, KeyError) as error:
        pytest.skip(f"this Pillow cannot write {kind}: {error}")
    attempt(lambda: decode_file(path), names=path)


@pytest.mark.parametrize("special", ["pipe", "/dev/zero", "/dev/stdin", "folder", "circle", "long"])
def test_a_path_that_is_no_file_does_not_hang_the_reader(tmp_path, attempt, special):
    path = tmp_path / "a.png"
    if special == "pipe":
        os.mkfifo(path)
    elif special == "folder":
        path.mkdir()
    elif special == "circle":
        path.symlink_to(path)
    given = {"/dev/zero": "/dev/zero", "/dev/stdin": "/dev/stdin", "long": "x" * 5000}
    name = given.get(special, str(path))
    table = tmp_path / "table.csv"
    table.write_text(f"path,modality,mask\n{name},ct,{name}\n")
    attempt(lambda: ingest(medbench.load_dataset(f"manifest:{table}")), names="")
    for reference in (
        "manifest:{}",
        "jsonl:{}",
        "npz@ct:{}",
        "dicom:{}",
        "nifti@ct:{}",
        "wds@ct:{}",
    ):
        attempt(lambda r=reference: medbench.load_dataset(r.format(name)), names="")

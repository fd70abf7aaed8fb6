from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.v2 import functional as F

from medbench.harness.datasets.images import Window, decode_file, resize_mask, resize_square
from medbench.harness.errors import UsageError


@pytest.fixture
def colours(rng):
    return rng.integers(0, 256, (40, 60, 3), dtype=np.uint8)


def test_rgb_is_read_as_it_is(tmp_path, colours):
    Image.fromarray(colours).save(tmp_path / "a.png")
    decoded = decode_file(tmp_path / "a.png")
    np.testing.assert_array_equal(decoded.rgb, colours)
    assert decoded.notes == ()


def test_grey_is_replicated(tmp_path, colours):
    Image.fromarray(colours[..., 0]).save(tmp_path / "a.png")
    rgb = decode_file(tmp_path / "a.png").rgb
    np.testing.assert_array_equal(rgb, np.repeat(colours[..., :1], 3, axis=2))


def test_a_palette_gives_the_colours_it_names(tmp_path, colours):
    palette = Image.fromarray(colours).quantize(16)
    palette.save(tmp_path / "a.png")
    decoded = decode_file(tmp_path / "a.png")
    np.testing.assert_array_equal(decoded.rgb, np.asarray(palette.convert("RGB")))
    assert decoded.notes == ("palette resolved",)


def test_cmyk_is_converted_and_noted(tmp_path, colours):
    Image.fromarray(colours).convert("CMYK").save(tmp_path / "a.tif")
    decoded = decode_file(tmp_path / "a.tif")
    assert np.abs(decoded.rgb.astype(int) - colours).max() <= 2
    assert decoded.notes == ("CMYK converted to RGB",)


def test_opaque_alpha_is_dropped_and_transparent_alpha_lies_over_black(tmp_path, colours):
    opaque = np.dstack([colours, np.full(colours.shape[:2], 255, np.uint8)])
    Image.fromarray(opaque).save(tmp_path / "opaque.png")
    np.testing.assert_array_equal(decode_file(tmp_path / "opaque.png").rgb, colours)
    opaque[:10, :, 3] = 0
    Image.fromarray(opaque).save(tmp_path / "holes.png")
    decoded = decode_file(tmp_path / "holes.png")
    assert decoded.rgb[:10].max() == 0
    np.testing.assert_array_equal(decoded.rgb[10:], colours[10:])
    assert decoded.notes == ("transparent pixels laid over black",)


def test_16_bit_needs_a_window_and_takes_it(tmp_path):
    values = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64)
    Image.fromarray(values).save(tmp_path / "a.png")
    with pytest.raises(UsageError, match=r"a\.png: .* more than 8 bits"):
        decode_file(tmp_path / "a.png")
    rgb = decode_file(tmp_path / "a.png", window=Window(-1000, 1000, bias=1024)).rgb
    assert rgb[0, 0, 0] == 0
    assert rgb[63, 63, 0] == 255
    assert rgb.reshape(-1, 3)[1024].tolist() == [128, 128, 128]


@pytest.mark.parametrize("size", [(1, 1), (1, 100), (7, 7)])
def test_tiny_images_are_refused_with_their_size(tmp_path, size):
    Image.new("RGB", size).save(tmp_path / "a.png")
    with pytest.raises(UsageError, match=rf"a\.png: {size[0]}x{size[1]} pixels"):
        decode_file(tmp_path / "a.png")


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tif"])
def test_a_truncated_file_is_refused_by_path(tmp_path, colours, suffix):
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(np.tile(colours, (6, 6, 1))).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UsageError, match=rf"a\.{suffix}"):
        decode_file(path)


def test_text_and_absence_are_refused_by_path(tmp_path):
    (tmp_path / "a.png").write_text("not an image")
    for name in ("a.png", "absent.png"):
        with pytest.raises(UsageError, match=name):
            decode_file(tmp_path / name)


def test_animations_are_refused(tmp_path):
    frames = [Image.new("L", (20, 20), level) for level in (0, 90, 200)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    with pytest.raises(UsageError, match="3 frames"):
        decode_file(tmp_path / "a.gif")


@pytest.mark.parametrize("shape", [(1024, 1024), (100, 333), (256, 300), (31, 17)])
def test_resize_is_bilinear_and_antialiased_within_one_level(rng, shape):
    image = rng.integers(0, 256, (*shape, 3), dtype=np.uint8)
    tensor = torch.from_numpy(image).permute(2, 0, 1)
    want = F.resize(tensor.double(), [256, 256], antialias=True).permute(1, 2, 0).numpy()
    assert np.abs(resize_square(image, 256) - want).max() <= 1.01
    whole = F.resize(tensor, [256, 256], antialias=True).permute(1, 2, 0).numpy()
    assert (resize_square(image, 256) != whole).mean() < 0.01


def test_masks_keep_their_share_of_the_image():
    mask = np.zeros((512, 512), bool)
    mask[100:300, 200:400] = True
    small = resize_mask(mask, 256)
    assert small.dtype == bool
    assert small.mean() == pytest.approx(mask.mean(), abs=2e-3)

"""Procedural images: what teaches an autoencoder images in general, without any photograph.

Coloured noise (spectrum 1/f^a), dead leaves (Lee, Mumford and Huang 2001: overlapping shapes of
power-law sizes, which share the scale and edge statistics of natural images), gratings, strokes
and lettering, and layers of these. Learning from such processes transfers to real images
(Baradad et al. 2021, "Learning to see by looking at noise").
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import gaussian_filter, map_coordinates

Field = NDArray[np.floating[Any]]
"""Floating-point (H, W) or (H, W, 3)."""

_LETTERS = "ABCDEFGHKLMNPRSTUVXYZ0123456789 .:/-+%"


def texture(rng: np.random.Generator, size: int = 256) -> NDArray[np.uint8]:
    """One random procedural image.

    Args:
        rng: the source of every choice; the image is a pure function of its state.
        size: side in pixels.

    Returns:
        uint8 (size, size, 3).
    """
    image = _one(rng, size)
    if rng.random() < 0.35:
        other = _one(rng, size)
        mask = _mask(rng, size)[..., None]
        image = image * (1 - mask) + other * mask
    if rng.random() < 0.25:
        image = _strokes(rng, image)
    return _finish(rng, image)


def _one(rng: np.random.Generator, size: int) -> Field:
    draw = rng.random()
    if draw < 0.55:
        return _dead_leaves(rng, size)
    if draw < 0.80:
        return _paint(rng, _noise(rng, size), _noise(rng, size))
    if draw < 0.92:
        return _paint(rng, _gratings(rng, size), _noise(rng, size))
    return np.broadcast_to(_colour(rng), (size, size, 3)).astype(np.float32)


def _noise(rng: np.random.Generator, size: int, exponent: float | None = None) -> Field:
    """Gaussian field of spectrum 1/f^exponent in about [0, 1] (mean 0.5)."""
    if exponent is None:
        exponent = rng.uniform(0.4, 2.6)
    fy = np.fft.fftfreq(size)[:, None] * (1.0 if rng.random() < 0.7 else rng.uniform(1, 5))
    fx = np.fft.rfftfreq(size)[None, :]
    radius = np.hypot(fy, fx)
    radius[0, 0] = 1.0
    spectrum = np.fft.rfft2(rng.standard_normal((size, size), dtype=np.float32))
    field = np.fft.irfft2(spectrum / radius**exponent, s=(size, size))
    field = field / (field.std() + 1e-9)
    if rng.random() < 0.2:
        field = np.abs(field) * 1.5 - 1.0  # ridges: vessels, folds
    return (0.5 + 0.22 * field).astype(np.float32)


def _colour(rng: np.random.Generator) -> Field:
    """A random colour in [0, 1], near grey as often as not, dark or light as often as medium."""
    level = rng.beta(0.7, 0.7)
    spread = rng.choice([0.0, 0.1, 0.35])
    return np.clip(level + spread * rng.standard_normal(3), 0, 1).astype(np.float32)


def _paint(rng: np.random.Generator, first: Field, second: Field) -> Field:
    """A colour image from two scalar fields: one along a colour ramp, the other as a tint."""
    low, high, tint = _colour(rng), _colour(rng), rng.standard_normal(3).astype(np.float32)
    ramp = np.clip(first, 0, 1)[..., None]
    strength = rng.choice([0.0, 0.1, 0.3])
    return low * (1 - ramp) + high * ramp + strength * (second - 0.5)[..., None] * tint


def _gratings(rng: np.random.Generator, size: int) -> Field:
    """A sum of one to three plane or circular waves, bent by a smooth field, in [0, 1]."""
    y, x = np.mgrid[0:size, 0:size].astype(np.float32) / size
    bend = (_noise(rng, size, 2.2) - 0.5) * rng.choice([0.0, 0.5, 2.0])
    total = np.zeros((size, size), dtype=np.float32)
    waves = int(rng.integers(1, 4))
    for _ in range(waves):
        frequency = 2 ** rng.uniform(0, 6)
        angle = rng.uniform(0, math.pi)
        phase = x * math.cos(angle) + y * math.sin(angle)
        if rng.random() < 0.3:
            phase = np.hypot(x - rng.random(), y - rng.random())
        total += np.sin(2 * math.pi * (frequency * phase + bend + rng.random()))
    total /= waves
    if rng.random() < 0.3:
        total = np.tanh(total * rng.uniform(2, 20))
    return (0.5 + 0.5 * total).astype(np.float32)


def _mask(rng: np.random.Generator, size: int) -> Field:
    """A soft or hard mask in [0, 1]: a thresholded field, a disc, or a half plane."""
    y, x = np.mgrid[0:size, 0:size].astype(np.float32) / size
    kind = rng.random()
    if kind < 0.5:
        value = _noise(rng, size, rng.uniform(1.6, 2.6)) - 0.5
    elif kind < 0.8:
        value = rng.uniform(0.2, 0.55) - np.hypot(x - rng.uniform(0.3, 0.7), y - 0.5)
    else:
        angle = rng.uniform(0, 2 * math.pi)
        value = (x - 0.5) * math.cos(angle) + (y - 0.5) * math.sin(angle)
    steepness = 10 ** rng.uniform(0.5, 2.7)
    return (1 / (1 + np.exp(-np.clip(value * steepness, -50, 50)))).astype(np.float32)


def _shape(rng: np.random.Generator, side: int, radius: float) -> list[tuple[float, float]]:
    """The outline of one leaf: an ellipse, a wavy blob, a polygon or a bar."""
    centre = rng.uniform(-0.1, 1.1, 2) * side
    kind = rng.random()
    corners = 28 if kind < 0.65 else int(rng.integers(3, 7))
    angles = np.linspace(0, 2 * math.pi, corners, endpoint=False) + rng.uniform(0, math.pi)
    radii = np.full(corners, radius)
    if 0.3 < kind < 0.65:
        for wave in range(2, 6):
            radii *= 1 + rng.uniform(0, 0.25) * np.sin(wave * angles + rng.uniform(0, 6.3))
    stretch = np.exp(rng.normal(0, 0.5)) if kind < 0.9 else rng.uniform(4, 12)
    x, y = radii * np.cos(angles) * math.sqrt(stretch), radii * np.sin(angles) / math.sqrt(stretch)
    turn = rng.uniform(0, math.pi)
    xs = centre[0] + x * math.cos(turn) - y * math.sin(turn)
    ys = centre[1] + x * math.sin(turn) + y * math.cos(turn)
    return list(zip(xs.tolist(), ys.tolist(), strict=True))


def _dead_leaves(rng: np.random.Generator, size: int) -> Field:
    """Overlapping leaves, drawn at twice the size as an index map and averaged down."""
    side = 2 * size
    leaves = int(2 ** rng.uniform(4, 11))
    smallest = rng.uniform(2.0, 12.0)
    # Radii of density r^-3 between the smallest leaf and half the image.
    u = rng.random(leaves)
    radii = (u * (side / 2) ** -2 + (1 - u) * smallest**-2) ** -0.5
    canvas = Image.new("I", (side, side), 0)
    pen = ImageDraw.Draw(canvas)
    for index, radius in enumerate(radii, start=1):
        pen.polygon(_shape(rng, side, float(radius)), fill=index)
    index_map = np.asarray(canvas)
    image = _fill_leaves(rng, index_map, leaves + 1)
    return image.reshape(size, 2, size, 2, 3).mean(axis=(1, 3))


def _fill_leaves(rng: np.random.Generator, index_map: NDArray[np.int32], leaves: int) -> Field:
    """Give every leaf a colour, a slope of brightness and a texture."""
    side = index_map.shape[0]
    palette = np.stack([_colour(rng) for _ in range(int(rng.integers(2, 24)))])
    if rng.random() < 0.45:
        palette = np.repeat(palette.mean(axis=1, keepdims=True), 3, axis=1)
    # Real images have many soft edges and few hard ones: draw the contrast of the whole scene.
    palette = palette.mean(axis=0) + rng.uniform(0.15, 1.0) * (palette - palette.mean(axis=0))
    colour = palette[rng.integers(0, len(palette), leaves)]
    colour = colour + 0.06 * rng.standard_normal((leaves, 1)).astype(np.float32)
    slope = rng.normal(0, rng.choice([0.1, 0.4, 1.0]), (leaves, 2)).astype(np.float32)
    strength = rng.exponential(rng.choice([0.05, 0.2, 0.5]), leaves).astype(np.float32)
    y, x = np.mgrid[0:side, 0:side].astype(np.float32) / side - 0.5
    fields = np.stack([np.kron(_noise(rng, side // 2), np.ones((2, 2), np.float32)) for _ in "ab"])
    choice = rng.integers(0, 2, leaves)
    detail = np.where(choice[index_map] == 0, fields[0], fields[1]) - 0.5
    shade = slope[index_map, 0] * x + slope[index_map, 1] * y + strength[index_map] * detail
    return (colour[index_map] + shade[..., None]).astype(np.float32)


def _strokes(rng: np.random.Generator, image: Field) -> Field:
    """Lines, curves and lettering drawn over an image, antialiased by double size."""
    size = image.shape[0]
    canvas = Image.new("L", (2 * size, 2 * size), 0)
    pen = ImageDraw.Draw(canvas)
    for _ in range(int(rng.integers(1, 12))):
        steps = int(rng.integers(2, 14))
        path = rng.uniform(0, 2 * size, 2) + np.cumsum(
            rng.normal(0, rng.choice([8, 40]), (steps, 2)) + rng.normal(0, 25, 2), axis=0
        )
        pen.line([(float(a), float(b)) for a, b in path], 255, int(rng.integers(1, 9)), "curve")
    for _ in range(int(rng.integers(0, 5))):
        text = "".join(rng.choice(list(_LETTERS), int(rng.integers(1, 12))))
        place = (float(rng.uniform(0, 1.8 * size)), float(rng.uniform(0, 1.9 * size)))
        pen.text(place, text, 255, ImageFont.load_default(float(rng.uniform(14, 60))))
    mask = np.asarray(canvas, dtype=np.float32).reshape(size, 2, size, 2).mean(axis=(1, 3)) / 255
    mask = (mask * rng.uniform(0.3, 1.0))[..., None]
    return image * (1 - mask) + _colour(rng) * mask


def _finish(rng: np.random.Generator, image: Field) -> NDArray[np.uint8]:
    """Warp, blur, vignette, sensor noise and rounding."""
    size = image.shape[0]
    if rng.random() < 0.3:
        image = _warp(rng, image)
    if rng.random() < 0.5:
        sigma = float(rng.exponential(0.9))
        image = gaussian_filter(image, (sigma, sigma, 0), mode="nearest")
    if rng.random() < 0.2:
        image = image * _mask(rng, size)[..., None]
    if rng.random() < 0.4:
        channels = 1 if rng.random() < 0.6 else 3
        grain = rng.standard_normal((size, size, channels), dtype=np.float32)
        grain = gaussian_filter(grain, (*[float(rng.choice([0, 0.6, 1.0]))] * 2, 0))
        level = float(rng.exponential(0.03))
        image = image * (1 + 2 * level * grain) if rng.random() < 0.4 else image + level * grain
    return (np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8)


def _warp(rng: np.random.Generator, image: Field) -> Field:
    size = image.shape[0]
    reach = size * rng.uniform(0.02, 0.15)
    y, x = np.mgrid[0:size, 0:size].astype(np.float32)
    shift = [(_noise(rng, size, 2.4) - 0.5) * reach for _ in "yx"]
    where = [y + shift[0], x + shift[1]]
    channels = [map_coordinates(image[..., c], where, order=1, mode="reflect") for c in range(3)]
    return np.stack(channels, axis=-1)

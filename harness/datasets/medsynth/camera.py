"""What the camera does to a colour scene: blur, exposure, gamma, colour cast and noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .latent import Range, uniform
from .noise import power_noise, white_noise

if TYPE_CHECKING:
    from .canvas import Canvas, Field


@dataclass(frozen=True, slots=True)
class Camera:
    """Acquisition parameters of a colour camera.

    Attributes:
        blur: Gaussian standard deviation, pixels of a 256-pixel image.
        gain: exposure factor.
        gamma: exponent applied to intensities in [0, 1].
        red: factor of the red channel.
        green: factor of the green channel.
        blue: factor of the blue channel.
        noise: standard deviation of the sensor noise, intensity.
        sharpen: strength of unsharp masking, 0 for none.
    """

    blur: float
    gain: float
    gamma: float
    red: float
    green: float
    blue: float
    noise: float
    sharpen: float


@dataclass(frozen=True, slots=True)
class CameraRanges:
    """Bounds from which a modality's cameras are drawn; `cast` is the spread of the channels."""

    blur: Range
    gain: Range
    gamma: Range
    cast: float
    noise: Range
    sharpen: Range = (0.0, 0.6)


def draw_camera(rng: np.random.Generator, ranges: CameraRanges) -> Camera:
    """Draw a camera."""
    red, green, blue = (float(value) for value in 1 + ranges.cast * rng.uniform(-1, 1, 3))
    return Camera(
        blur=uniform(rng, ranges.blur),
        gain=uniform(rng, ranges.gain),
        gamma=uniform(rng, ranges.gamma),
        red=red,
        green=green,
        blue=blue,
        noise=uniform(rng, ranges.noise),
        sharpen=uniform(rng, ranges.sharpen),
    )


def expose(canvas: Canvas, scene: Field, camera: Camera) -> Field:
    """Return the colour image (n, n, 3) in [0, 1] that `camera` takes of a linear `scene`."""
    image = canvas.blur(scene, camera.blur)
    if camera.sharpen > 0.05:
        image = image + np.float32(camera.sharpen) * (image - canvas.blur(image, 1.2))
    # Luminance noise is finer than chrominance noise in compressed camera images.
    grain = white_noise(canvas) * np.float32(camera.noise)
    tint = power_noise(canvas, 1.0, low=20.0) * np.float32(0.4 * camera.noise)
    noises = (grain + tint, grain, grain - tint)
    gains = (camera.red * camera.gain, camera.green * camera.gain, camera.blue * camera.gain)
    out = np.empty(image.shape, np.float32)
    for channel, (gain, noise) in enumerate(zip(gains, noises, strict=True)):
        plane = np.clip(image[..., channel] * np.float32(gain), 0.0, 1.0)
        out[..., channel] = plane ** np.float32(camera.gamma) + noise
    return np.clip(out, 0.0, 1.0, out=out)


def mix(base: Field, colour: tuple[float, float, float] | Field, share: Field) -> Field:
    """Blend a colour, or a colour image, over `base` by a share (n, n) in [0, 1]."""
    top = np.broadcast_to(np.asarray(colour, np.float32), base.shape)
    out = np.empty(base.shape, np.float32)
    # Channel by channel: broadcasting over an inner axis of three is several times slower.
    for channel in range(3):
        under = base[..., channel]
        out[..., channel] = under + (top[..., channel] - under) * share
    return out


def rgb(red: float, green: float, blue: float) -> Field:
    """Return a colour, or three per-channel factors, as a float32 (3,) array."""
    return np.array((red, green, blue), np.float32)

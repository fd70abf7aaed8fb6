"""Random fields: power-law noise, band noise, ridges and speckle.

Fields are drawn on a fixed 256 × 256 lattice in the Fourier domain and interpolated for larger
canvases, so that the same generator state gives the same scene at any size.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy import fft, ndimage

from .canvas import BASE_SIZE, Canvas, Field


@lru_cache(maxsize=1)
def _frequencies() -> tuple[Field, Field]:
    """Horizontal and vertical frequency of the half spectrum, cycles per image side."""
    fx = np.fft.rfftfreq(BASE_SIZE, 1 / BASE_SIZE).astype(np.float32)[None, :]
    fy = np.fft.fftfreq(BASE_SIZE, 1 / BASE_SIZE).astype(np.float32)[:, None]
    return fx, fy


def _radius(stretch: float, angle: float) -> Field:
    """Frequency of each half-spectrum cell in stretched coordinates; 1 at the mean."""
    fx, fy = _frequencies()
    if stretch == 1.0:
        radius = np.hypot(fx, fy)
    else:
        cosine, sine = np.float32(np.cos(angle)), np.float32(np.sin(angle))
        root = np.float32(np.sqrt(stretch))
        radius = np.hypot((fx * cosine + fy * sine) * root, (fy * cosine - fx * sine) / root)
    radius[0, 0] = 1.0
    return radius


@lru_cache(maxsize=128)
def _power_amplitude(slope: float, low: float, high: float, stretch: float, angle: float) -> Field:
    squared = _radius(stretch, angle) ** 2
    amplitude = np.exp(
        np.log(squared + np.float32(low * low)) * np.float32(-slope / 2)
        - squared * np.float32(0.5 / (high * high))
    )
    amplitude[0, 0] = 0.0
    return amplitude


@lru_cache(maxsize=128)
def _band_amplitude(frequency: float, width: float, stretch: float, angle: float) -> Field:
    offset = np.log(_radius(stretch, angle) / np.float32(frequency)) / np.float32(width)
    amplitude = np.exp(-0.5 * offset * offset)
    amplitude[0, 0] = 0.0
    return amplitude


def _shaped(canvas: Canvas, amplitude: Field) -> Field:
    """Real field of unit variance whose half spectrum is complex noise times `amplitude`."""
    parts = canvas.rng.standard_normal((BASE_SIZE, BASE_SIZE + 2), dtype=np.float32)
    spectrum = parts.view(np.complex64) * amplitude
    plane = fft.irfft2(spectrum, s=(BASE_SIZE, BASE_SIZE), workers=1, overwrite_x=True)
    field = np.asarray(plane)
    field /= field.std() + np.float32(1e-12)
    return _enlarge(field, canvas.size)


def _enlarge(field: Field, size: int) -> Field:
    if size == BASE_SIZE:
        return field
    factor = size / BASE_SIZE
    return np.asarray(ndimage.zoom(field, factor, order=1, mode="grid-wrap", grid_mode=True))


def power_noise(
    canvas: Canvas,
    slope: float,
    *,
    low: float = 0.7,
    high: float = 200.0,
    stretch: float = 1.0,
    angle: float = 0.0,
) -> Field:
    """Zero-mean, unit-variance noise with amplitude spectrum f**-slope.

    Args:
        canvas: where to draw.
        slope: 0 is white, 1 is the "1/f" of natural images, 2 and more are clouds.
        low: frequencies below this, in cycles per image side, are damped.
        high: frequencies above this are damped with a Gaussian roll-off.
        stretch: correlation along `angle` is this many times longer than across it.
        angle: direction of the stretch in radians, 0 horizontal.
    """
    return _shaped(canvas, _power_amplitude(slope, low, high, stretch, angle))


def band_noise(
    canvas: Canvas,
    frequency: float,
    *,
    width: float = 0.35,
    stretch: float = 1.0,
    angle: float = 0.0,
) -> Field:
    """Zero-mean, unit-variance noise around one scale.

    Args:
        canvas: where to draw.
        frequency: centre of the band, cycles per image side.
        width: standard deviation of the band in natural-log frequency.
        stretch: see `power_noise`.
        angle: see `power_noise`.
    """
    return _shaped(canvas, _band_amplitude(frequency, width, stretch, angle))


def ridges(field: Field, width: float) -> Field:
    """Thin lines, 0 to 1, where a zero-mean field changes sign; `width` in its deviations."""
    return np.exp(-np.abs(field) / np.float32(width))


def white_noise(canvas: Canvas) -> Field:
    """Independent unit-variance noise of each lattice pixel."""
    white = canvas.rng.standard_normal((BASE_SIZE, BASE_SIZE), dtype=np.float32)
    return _enlarge(white, canvas.size)


def speckle(canvas: Canvas, axial: float, lateral: float) -> Field:
    """Fully developed speckle amplitude with unit mean square (Rayleigh distributed).

    Args:
        canvas: where to draw.
        axial: vertical standard deviation of the point spread, pixels of a 256-pixel image.
        lateral: horizontal standard deviation.
    """
    fx = np.fft.fftfreq(BASE_SIZE).astype(np.float32)[None, :]
    fy = np.fft.fftfreq(BASE_SIZE).astype(np.float32)[:, None]
    rolloff = np.float32(-2 * np.pi**2)
    # The Gaussian is separable: two short exponentials instead of one over the plane.
    transfer = np.exp(rolloff * (fx * lateral) ** 2) * np.exp(rolloff * (fy * axial) ** 2)
    parts = canvas.rng.standard_normal((BASE_SIZE, 2 * BASE_SIZE), dtype=np.float32)
    spectrum = parts.view(np.complex64) * transfer.astype(np.float32)
    amplitude = np.abs(np.asarray(fft.ifft2(spectrum, workers=1, overwrite_x=True)))
    amplitude /= np.sqrt(np.mean(amplitude * amplitude))
    return _enlarge(amplitude, canvas.size)

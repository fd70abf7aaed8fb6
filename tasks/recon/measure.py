"""One shard of images through a tokenizer: reconstructions, per-image scores, codes, features."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from ...harness.errors import CellFailed
from ...harness.metrics.channels import channel_disagreement
from ...harness.metrics.lesions import lesion_scores
from ...harness.metrics.ms_ssim import ms_ssim, structural_similarities
from ...harness.metrics.psnr import psnr
from ...harness.reading import ReadAhead, to_tensor
from .features import extract

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ...harness.metrics.extractors.protocol import Extractor
    from ...harness.metrics.lpips_network import Lpips
    from ...harness.protocol import Tokenizer
    from ...harness.shards import Arrays, BatchSize
    from ...harness.task import Cell
    from ..classifier import Classifier

SCORES = {"psnr": psnr, "ms_ssim": ms_ssim}
"""What the sanity gate compares; also of `scores`."""
FEATURES = "features-"
"""Name of a space's features in a shard, with its number."""


@dataclass(frozen=True, slots=True)
class Reconstruction:
    """What came back for a range of images.

    Attributes:
        images: uint8 (n, H, H, 3).
        clamped: float64 (n,), share of values outside [0, 1].
        indices: int32 (n, K, L) or None.
        bits: float64 (n,) measured bits or None.
    """

    images: np.ndarray
    clamped: np.ndarray
    indices: np.ndarray | None
    bits: np.ndarray | None
    encode_seconds: float
    decode_seconds: float


def to_bytes(images: torch.Tensor) -> np.ndarray:
    """float (n, 3, H, H) in [0, 1] -> uint8 (n, H, H, 3), rounded half to even."""
    scaled = images.mul(255.0).round_().to(torch.uint8)
    return scaled.permute(0, 2, 3, 1).contiguous().cpu().numpy()


@torch.inference_mode()
def reconstruct(
    tokenizer: Tokenizer, images: np.ndarray, *, batch: int, device: str
) -> Reconstruction:
    """Encode and decode uint8 (n, H, H, 3) in batches.

    Raises:
        CellFailed: the decoder gave another shape, or values that are not finite.
    """
    back: list[np.ndarray] = []
    clamped: list[np.ndarray] = []
    indices: list[np.ndarray] = []
    bits: list[int] = []
    encode_seconds = decode_seconds = 0.0
    for start in range(0, len(images), batch):
        given = to_tensor(images[start : start + batch], device)
        begun = _now(device)
        encoding = tokenizer.encode(given)
        encoded = _now(device)
        decoded = tokenizer.decode(encoding)
        decode_seconds += _now(device) - encoded
        encode_seconds += encoded - begun
        _check(decoded, given, tokenizer)
        outside = ((decoded < 0) | (decoded > 1)).flatten(1).double().mean(dim=1)
        clamped.append(outside.cpu().numpy())
        back.append(to_bytes(decoded.clamp(0, 1)))
        if encoding.indices is not None:
            indices.append(encoding.indices.cpu().numpy().astype(np.int32))
        bits.extend(encoding.bits or ())
    return Reconstruction(
        np.concatenate(back),
        np.concatenate(clamped),
        np.concatenate(indices) if indices else None,
        np.asarray(bits, dtype=np.float64) if bits else None,
        encode_seconds,
        decode_seconds,
    )


def _now(device: str) -> float:
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
    return time.perf_counter()


def _check(decoded: torch.Tensor, given: torch.Tensor, tokenizer: Tokenizer) -> None:
    name = tokenizer.info.full_name
    if decoded.shape != given.shape:
        message = f"{name}: decode gave {tuple(decoded.shape)} for images {tuple(given.shape)}"
        raise CellFailed(message)
    if not torch.isfinite(decoded).all():
        count = int((~torch.isfinite(decoded)).sum())
        message = (
            f"{name}: {count} reconstructed values are not finite. Look for NaN in the weights, "
            "or for an overflow in half precision."
        )
        raise CellFailed(message)


def luma(images: np.ndarray) -> np.ndarray:
    """uint8 RGB (n, H, H, 3) -> its ITU-R 601 luma, rounded half to even, in three channels."""
    grey = np.rint(images @ np.array([0.299, 0.587, 0.114])).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=3)


def scores(reference: np.ndarray, candidate: np.ndarray) -> dict[str, np.ndarray]:
    """The per-image scores that every image has, float64 (n,) each."""
    structural = structural_similarities(reference, candidate, uniform=True)
    return {"psnr": psnr(reference, candidate), **structural}


@dataclass(frozen=True, slots=True)
class Instruments:
    """What a cell's images are read and measured with, built once.

    Attributes:
        read: (start, stop) -> originals.
        extractors: of the feature spaces, in their order.
        lpips: by metric name.
        classifier: of the data set, where retention was asked for.
    """

    read: ReadAhead
    extractors: Sequence[Extractor]
    lpips: Mapping[str, Lpips]
    classifier: Classifier | None = None


def measure_shard(cell: Cell, tools: Instruments, start: int, stop: int) -> Arrays:
    """The arrays of images start..stop: scores, clamped share, features, codes, bits, seconds."""
    images = tools.read(start, stop)
    result = _attempt(cell.batch, cell.tokenizer, images, cell.device)
    begun = time.perf_counter()
    back = result.images
    arrays: Arrays = scores(images, back)
    arrays["channel_disagreement"] = channel_disagreement(images, back)
    for name, distance in tools.lpips.items():
        arrays[name] = distance(images, back)
    if cell.store.masks is not None:
        arrays |= lesion_scores(images, back, np.array(cell.store.masks[start:stop]))
    if cell.tokenizer.info.colour == "luma":
        grey, grey_back = luma(images), luma(back)
        arrays["luma_psnr"] = psnr(grey, grey_back)
        arrays["luma_ms_ssim"] = ms_ssim(grey, grey_back)
    for number, extractor in enumerate(tools.extractors):
        arrays[f"{FEATURES}{number}"] = extract(extractor, back)
    if tools.classifier is not None:
        arrays["logits"] = tools.classifier.logits(images)
        arrays["logits_after"] = tools.classifier.logits(back)
    arrays["clamped"] = result.clamped
    if result.indices is not None:
        arrays["indices"] = result.indices
    if result.bits is not None:
        arrays["bits"] = result.bits
    arrays["seconds"] = np.array(
        [result.encode_seconds, result.decode_seconds, time.perf_counter() - begun]
    )
    return arrays


def _attempt(
    batch: BatchSize, tokenizer: Tokenizer, images: np.ndarray, device: str
) -> Reconstruction:
    return batch.attempt(lambda size: reconstruct(tokenizer, images, batch=size, device=device))

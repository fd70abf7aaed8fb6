from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from medbench.harness.conformance import CHECKS, validate
from medbench.harness.errors import NotApplicable
from medbench.harness.image_batch import check_images
from medbench.harness.protocol import Encoding, TokenizerInfo

CELL, LEVELS = 8, 16
INFO = TokenizerInfo(
    name="toy",
    variant="test",
    kind="discrete",
    resolution=128,
    size_multiple=CELL,
    downsample=CELL,
    layout="raster",
    codebooks=3,
    codebook_size=LEVELS,
    positions=(128 // CELL) ** 2,
    latent_dims=3,
    feature_dims=5,
    bits_per_image=3 * (128 // CELL) ** 2 * math.log2(LEVELS),
)


class Toy(nn.Module):
    """A correct discrete tokenizer: each channel's mean over a cell, in 16 levels."""

    def __init__(self, **changes):
        super().__init__()
        self.info = dataclasses.replace(INFO, **changes)
        self.register_buffer("codebook", (torch.arange(LEVELS) + 0.5) / LEVELS)
        self.register_buffer("calls", torch.zeros(()))
        self.project = nn.Linear(3, 5)
        self.eval()

    def check(self, images):
        check_images(images, tokenizer="toy@test", size_multiple=CELL)

    def read(self, images):
        return F.avg_pool2d(images, CELL)

    @torch.no_grad()
    def encode(self, images):
        self.check(images)
        indices = (self.read(images) * LEVELS).long().clamp(0, LEVELS - 1)
        return Encoding(indices=indices.flatten(2), latents=self.codebook[indices])

    @torch.no_grad()
    def decode(self, encoding):
        indices = encoding.indices
        side = math.isqrt(indices.shape[-1])
        latents = self.codebook[indices].unflatten(2, (side, side))
        return F.interpolate(latents, scale_factor=CELL)

    def embed(self, images):
        return self.project(self.encode(images).latents.flatten(2).transpose(1, 2))

    @torch.no_grad()
    def features(self, images):
        return self.embed(images)

    @torch.no_grad()
    def continuous(self, images):
        self.check(images)
        return self.read(images).flatten(2).transpose(1, 2)


class Int32Codes(Toy):
    def encode(self, images):
        encoding = super().encode(images)
        return dataclasses.replace(encoding, indices=encoding.indices.int())


class CodesFromOne(Toy):
    def encode(self, images):
        encoding = super().encode(images)
        return dataclasses.replace(encoding, indices=encoding.indices + 1)

    def decode(self, encoding):
        return super().decode(Encoding(indices=encoding.indices - 1))


class ByteScale(Toy):
    def decode(self, encoding):
        return super().decode(encoding) * 255


class DoublePrecision(Toy):
    def decode(self, encoding):
        return super().decode(encoding).double()


class FeaturesWithoutPositions(Toy):
    def features(self, images):
        return super().features(images).mean(dim=1)


class HalfFeatures(Toy):
    def features(self, images):
        return super().features(images).half()


class NoFeatures(Toy):
    features = property()


class Noisy(Toy):
    def features(self, images):
        values = super().features(images)
        self.turn = not getattr(self, "turn", False)
        return values * (1 + 1e-6 * self.turn)


class BatchMean(Toy):
    def read(self, images):
        return super().read(images - images.mean(dim=0) + 0.5)


class EverySecond(Toy):
    def continuous(self, images):
        values = super().continuous(images)
        values[1::2] *= 1.01
        return values


class OtherAtHand(Toy):
    def encode(self, images):
        encoding = super().encode(images)
        return dataclasses.replace(encoding, continuous=self.continuous(images) * 1.01)


class Counting(Toy):
    def decode(self, encoding):
        self.calls += 1
        return super().decode(encoding)


class InitialisedByFirstBatch(Toy):
    def encode(self, images):
        self.calls.fill_(1)
        return super().encode(images)


class ClampsInput(Toy):
    def encode(self, images):
        self.check(images)
        return super().encode(images.clamp_(0.2, 0.8))


class WritesLatents(Toy):
    def decode(self, encoding):
        decoded = super().decode(encoding)
        if encoding.latents is not None:
            encoding.latents.zero_()
        return decoded


class Training(Toy):
    def __init__(self):
        super().__init__()
        self.train()


class WithGradient(Toy):
    def features(self, images):
        return self.embed(images)


class NeedsLatents(Toy):
    def decode(self, encoding):
        images = super().decode(encoding)
        return images if encoding.latents is None else images * 0.99


class AcceptsAnySide(Toy):
    def check(self, images):
        side = images.shape[-1] - images.shape[-1] % CELL
        cropped = images[..., :side, :side] if images.shape[-1] == images.shape[-2] else images
        super().check(cropped)


class WrongErrorForSide(Toy):
    def check(self, images):
        if images.shape[-1] % CELL and images.shape[-1] == images.shape[-2]:
            raise ValueError("bad side")
        super().check(images)


class AcceptsOneChannel(Toy):
    def encode(self, images):
        return super().encode(images.expand(-1, 3, -1, -1) if images.ndim == 4 else images)


class AcceptsNaN(Toy):
    def check(self, images):
        super().check(torch.nan_to_num(images))


class AcceptsBytes(Toy):
    def encode(self, images):
        return super().encode(images / 255 if images.dtype == torch.uint8 else images)


BROKEN = [
    (lambda: Toy(bits_per_image=1.0), "info"),
    (lambda: Toy(variant="two words"), "info"),
    (lambda: Toy(layout="spiral"), "info"),
    (lambda: Toy(modalities=("x-ray",)), "info"),
    (lambda: Toy(weights_sha256="abc"), "info"),
    (lambda: Toy(cannot={"sing": "no voice"}), "info"),
    (Int32Codes, "encode"),
    (lambda: Toy(latent_dims=4), "encode"),
    (CodesFromOne, "indices in the codebook"),
    (ByteScale, "decode"),
    (DoublePrecision, "decode"),
    (FeaturesWithoutPositions, "features"),
    (HalfFeatures, "features"),
    (NoFeatures, "features"),
    (OtherAtHand, "features"),
    (lambda: Toy(positions=64, bits_per_image=768.0), "benchmark side"),
    (lambda: Toy(downsample=16), "benchmark side"),
    (Noisy, "determinism"),
    (BatchMean, "batch invariance"),
    (EverySecond, "batch invariance"),
    (Counting, "no state change"),
    (InitialisedByFirstBatch, "no state change"),
    (ClampsInput, "input untouched"),
    (WritesLatents, "input untouched"),
    (Training, "inference mode"),
    (WithGradient, "inference mode"),
    (NeedsLatents, "decode from indices"),
    (lambda: Toy(colour="luma"), "grey input"),
    (AcceptsAnySide, "refused sizes"),
    (WrongErrorForSide, "refused sizes"),
    (AcceptsOneChannel, "refused shapes"),
    (AcceptsNaN, "refused values"),
    (AcceptsBytes, "refused values"),
]


def test_a_correct_tokenizer_passes_every_check():
    report = validate(Toy())
    assert report.passed
    assert [check.status for check in report.checks] == ["passed"] * len(CHECKS)


@pytest.mark.parametrize(("build", "check"), BROKEN)
def test_one_broken_promise_fails_its_own_check_only(build, check):
    report = validate(build())
    assert report.failed == (check,), "\n".join(report.lines())


def test_every_check_has_a_tokenizer_that_fails_it():
    assert {check for _, check in BROKEN} == set(CHECKS)


def test_declared_inability_is_not_applicable():
    report = validate(Toy(cannot={"features": "none", "continuous": "none"}))
    statuses = {check.name: (check.status, check.detail) for check in report.checks}
    assert report.passed
    assert statuses["features"] == ("not applicable", "none")


def test_an_encoder_without_decoder_is_still_checked():
    toy = EverySecond(cannot={"encode": "an encoder only", "decode": "an encoder only"})
    report = validate(toy)
    statuses = {check.name: check.status for check in report.checks}
    assert report.failed == ("batch invariance",)
    assert statuses["decode"] == statuses["indices in the codebook"] == "not applicable"
    assert statuses["refused sizes"] == statuses["determinism"] == "passed"


def test_a_crash_is_reported_not_raised():
    class Crashing(Toy):
        def encode(self, images):
            raise RuntimeError("out of paper")

    report = validate(Crashing())
    details = {check.name: check.detail for check in report.checks}
    assert not report.passed
    assert details["encode"] == "raised RuntimeError: out of paper"


def test_not_applicable_at_run_time_does_not_fail():
    class TooSmallBudget(Toy):
        def encode(self, images):
            self.check(images)
            raise NotApplicable("not at this rate")

        features = continuous = encode

    report = validate(TooSmallBudget())
    statuses = {check.name: check.status for check in report.checks}
    assert report.passed
    assert statuses["encode"] == "not applicable"


def test_lines_say_what_was_measured():
    report = validate(ByteScale())
    lines = report.lines()
    assert lines[0] == f"toy@test: {len(CHECKS) - 1} passed, 1 failed, 0 not applicable"
    assert len(lines) == len(CHECKS) + 1
    (failed,) = [line for line in lines if line.startswith("failed")]
    assert "decode" in failed
    assert "images are in [0, 1]" in failed


def test_another_seed_gives_other_images_and_the_same_verdict():
    seen = []

    class Recording(Toy):
        def encode(self, images):
            seen.append(images)
            return super().encode(images)

    assert validate(Recording(), seed=1).passed
    first = seen[0]
    seen.clear()
    assert validate(Recording(), seed=2).passed
    assert not torch.equal(first, seen[0])

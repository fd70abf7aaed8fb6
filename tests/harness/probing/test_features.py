from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch

from medbench.harness.errors import NotApplicable, UsageError
from medbench.harness.probing import features as features_module
from medbench.harness.probing.features import features_of
from medbench.harness.probing.projection import PROJECTED, project
from medbench.harness.protocol import Encoding, TokenizerInfo

INFO = TokenizerInfo("known", "test", "discrete")


@dataclass
class Known:
    """Latents of three dimensions whose values say where they come from."""

    side: int = 4
    info: TokenizerInfo = INFO

    def encode(self, images):
        size = (len(images), 3, self.side, self.side)
        return Encoding(latents=torch.arange(float(torch.Size(size).numel())).reshape(size))

    def decode(self, encoding):
        return torch.zeros(len(encoding.latents), 3, 8, 8)

    def features(self, images):
        return torch.zeros(len(images), 1, 1)


class KnownBefore(Known):
    def continuous(self, images):
        return torch.arange(60.0).reshape(2, 10, 3).double()


class WithoutLatents(Known):
    def encode(self, images):
        return Encoding(payload=tuple(b"" for _ in images))


IMAGES = torch.zeros(2, 3, 8, 8)


def test_flat_is_the_whole_grid_of_each_image():
    found = features_of(Known(), IMAGES, "flat")
    assert found.tolist() == [[float(i) for i in range(48)], [float(i) for i in range(48, 96)]]


def test_mean_is_over_positions():
    assert features_of(Known(), IMAGES, "mean").tolist() == [[7.5, 23.5, 39.5], [55.5, 71.5, 87.5]]


def test_cont_mean_is_over_tokens_before_quantisation():
    found = features_of(KnownBefore(), IMAGES, "cont-mean")
    assert found.dtype == torch.float32
    assert found.tolist() == [[13.5, 14.5, 15.5], [43.5, 44.5, 45.5]]


def test_long_grids_are_projected_and_called_so():
    long = Known(side=128)
    found = features_of(long, IMAGES, "flat-p")
    assert found.shape == (2, PROJECTED)
    torch.testing.assert_close(found, project(long.encode(IMAGES).latents.flatten(1)))
    with pytest.raises(NotApplicable, match="49152 numbers is probed as 'flat-p', not 'flat'"):
        features_of(long, IMAGES, "flat")


def test_the_limit_itself_is_still_flat(monkeypatch):
    monkeypatch.setattr(features_module, "FLAT_LIMIT", 48)
    assert features_of(Known(), IMAGES, "flat").shape == (2, 48)
    with pytest.raises(NotApplicable, match="as 'flat', not 'flat-p'"):
        features_of(Known(), IMAGES, "flat-p")


def test_a_tokenizer_without_latents_takes_no_part():
    with pytest.raises(NotApplicable, match="known@test has no latents"):
        features_of(WithoutLatents(), IMAGES, "mean")


def test_a_tokenizer_without_encoder_output_takes_no_part():
    with pytest.raises(NotApplicable, match="no method `continuous`"):
        features_of(Known(), IMAGES, "cont-mean")
    declared = TokenizerInfo("known", "test", "bound", cannot={"continuous": "a bound has none"})
    with pytest.raises(NotApplicable, match="a bound has none"):
        features_of(KnownBefore(info=declared), IMAGES, "cont-mean")


def test_unknown_kinds_are_refused():
    with pytest.raises(UsageError, match="unknown features 'pooled'"):
        features_of(Known(), IMAGES, "pooled")  # pyright: ignore[reportArgumentType]

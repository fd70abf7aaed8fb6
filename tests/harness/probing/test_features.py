from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch

from medbench.harness.errors import NotApplicable, UsageError
from medbench.harness.probing import features as features_module
from medbench.harness.probing.features import features_by_kind, features_of, find_kinds
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


class EncoderAlone(Known):
    """Two tokens of three dimensions, and nothing to decode."""

    def encode(self, images):
        raise NotApplicable("an encoder alone")

    def features(self, images):
        return torch.arange(12.0).reshape(2, 2, 3)


def test_an_encoder_alone_is_probed_by_its_tokens():
    alone = EncoderAlone(info=TokenizerInfo("known", "test", "continuous", cannot={"encode": "-"}))
    found = find_kinds(alone, IMAGES)
    assert found.present == ("flat", "cont-mean")
    assert "its mean is `cont-mean`" in found.absent["mean"]
    assert features_of(alone, IMAGES, "cont-mean").tolist() == [[1.5, 2.5, 3.5], [7.5, 8.5, 9.5]]
    assert features_of(alone, IMAGES, "flat").shape == (2, 6)


def test_kinds_are_found_with_the_reason_for_those_that_are_not_there():
    found = find_kinds(Known(), IMAGES)
    assert found.present == ("flat", "mean")
    assert set(found.absent) == {"cont-mean"}
    assert find_kinds(WithoutLatents(), IMAGES).present == ()


def test_several_kinds_come_from_one_encoding():
    known, calls = Known(), []
    encode = known.encode
    known.encode = lambda images: calls.append(1) or encode(images)
    found = features_by_kind(known, IMAGES, ["flat", "mean"])
    assert len(calls) == 1
    assert found["mean"].tolist() == features_of(Known(), IMAGES, "mean").tolist()

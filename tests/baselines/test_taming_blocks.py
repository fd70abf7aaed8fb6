from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from medbench.baselines.taming_blocks import (
    AttnBlock,
    Decoder,
    Downsample,
    Encoder,
    Upsample,
    group_norm,
)
from medbench.baselines.taming_config import TrunkSizes

CLOSE = {"rtol": 1e-4, "atol": 1e-5}


@pytest.fixture(autouse=True)
def seeded():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def _sizes(**changes) -> TrunkSizes:
    values = {
        "in_channels": 3,
        "out_channels": 3,
        "z_channels": 5,
        "ch": 32,
        "ch_mult": (1, 3, 2),
        "num_res_blocks": 1,
    }
    return TrunkSizes(**(values | changes))


@torch.no_grad()
def test_attention_is_a_softmax_over_all_positions():
    block = AttnBlock(32, norm=group_norm(32))
    x = torch.randn(2, 32, 3, 5)
    q, k, v = (part(block.norm(x)).flatten(2) for part in (block.q, block.k, block.v))
    share = torch.einsum("bci,bcj->bij", q, k).div(32**0.5).softmax(dim=2)
    mixed = torch.einsum("bij,bcj->bci", share, v).reshape(2, 32, 3, 5)
    torch.testing.assert_close(block(x), x + block.proj_out(mixed), **CLOSE)


@torch.no_grad()
def test_downsampling_looks_at_each_square_and_what_is_right_of_and_below_it():
    down = Downsample(1)
    nn.init.ones_(down.conv.weight)
    nn.init.zeros_(down.conv.bias)
    x = torch.arange(16.0).reshape(1, 1, 4, 4)
    expected = [[x[..., :3, :3].sum(), x[..., :3, 2:].sum()], [x[..., 2:, :3].sum(), 10 + 11 + 29]]
    assert torch.equal(down(x)[0, 0], torch.tensor(expected))


@torch.no_grad()
def test_upsampling_repeats_each_pixel_before_the_convolution():
    up = Upsample(2, 2)
    x = torch.randn(1, 2, 3, 3)
    repeated = x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    torch.testing.assert_close(up(x), up.conv(repeated))


@torch.no_grad()
@pytest.mark.parametrize(
    "sizes",
    [
        _sizes(),
        _sizes(ch_mult=(2,), num_res_blocks=3),
        _sizes(ch_mult=(1, 1, 2, 2), double_z=True, encoder_attention=frozenset({0, 2})),
        _sizes(in_channels=1, out_channels=1, decoder_attention=frozenset({1})),
    ],
)
def test_any_depth_width_and_attention_runs(sizes):
    f = sizes.downsample
    x = torch.randn(2, sizes.in_channels, 4 * f, 2 * f)
    z = Encoder(sizes)(x)
    assert z.shape == (2, sizes.z_channels * (2 if sizes.double_z else 1), 4, 2)
    assert Decoder(sizes)(torch.randn(2, sizes.z_channels, 4, 2)).shape == x.shape


def test_attention_levels_and_depths_show_in_the_keys():
    sizes = _sizes(num_res_blocks=2, encoder_attention=frozenset({1}))
    keys = {"encoder." + key for key in Encoder(sizes).state_dict()}
    attention = {key.split(".q.")[0] for key in keys if ".q." in key}
    assert attention == {"encoder.down.1.attn.0", "encoder.down.1.attn.1", "encoder.mid.attn_1"}
    decoder = Decoder(sizes)
    assert [len(level.block) for level in decoder.up] == [3, 3, 3]
    assert [hasattr(level, "upsample") for level in decoder.up] == [False, True, True]


class _ConditionedNorm(nn.Module):
    """Group normalisation, shifted by the map's mean; counts its calls."""

    calls = 0

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.inner = nn.GroupNorm(32, channels)

    def forward(self, x: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        type(self).calls += 1
        grown = F.interpolate(condition, size=x.shape[-2:], mode="nearest")
        return self.inner(x) + grown.mean(dim=1, keepdim=True)


@torch.no_grad()
def test_norms_of_another_kind_get_the_condition_everywhere():
    sizes = _sizes(decoder_attention=frozenset({2}))
    decoder = Decoder(sizes, norm=_ConditionedNorm)
    norms = sum(isinstance(module, _ConditionedNorm) for module in decoder.modules())
    z = torch.randn(1, 5, 2, 2)
    _ConditionedNorm.calls = 0
    first = decoder(z, torch.zeros(1, 4, 2, 2))
    assert _ConditionedNorm.calls == norms == 2 * 2 + 1 + 3 * 2 * 2 + 2 + 1
    assert not torch.allclose(first, decoder(z, torch.ones(1, 4, 2, 2)))


def test_dropout_acts_in_training_only():
    encoder = Encoder(_sizes(dropout=0.5))
    x = torch.randn(1, 3, 8, 8)
    assert not torch.equal(encoder(x), encoder(x))
    encoder.eval()
    assert torch.equal(encoder(x), encoder(x))

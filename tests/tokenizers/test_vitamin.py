from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from medbench.harness.training import parallel
from medbench.tokenizers.catalogue import TINY_CONFIG
from medbench.tokenizers.initialisation import build_from_scratch
from medbench.tokenizers.meditok_config import MedITokConfig
from medbench.tokenizers.meditok_model import MedITokModel
from medbench.tokenizers.vitamin import BatchDropPath, build_blocks
from medbench.tokenizers.vitamin_decoder import Upsample


@pytest.mark.parametrize(("height", "width"), [(1, 1), (5, 3), (8, 8)])
def test_doubling_equals_a_convolution_of_the_repeated_pixels(height, width):
    torch.manual_seed(0)
    layer = Upsample(6, 10).double()
    x = torch.randn(2, 6, height, width, dtype=torch.float64, requires_grad=True)
    repeated = x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    expected = F.conv2d(repeated, layer.conv.weight, layer.conv.bias, padding=1)
    found = layer(x)
    torch.testing.assert_close(found, expected)
    cotangent = torch.randn_like(expected)
    wanted = (x, layer.conv.weight, layer.conv.bias)
    torch.testing.assert_close(
        torch.autograd.grad((found * cotangent).sum(), wanted),
        torch.autograd.grad((expected * cotangent).sum(), wanted),
    )


OTHER_SIZES = {
    "one head, odd widths": {
        "stem_width": 8,
        "stage_dims": [12, 20, 48],
        "stage_depths": [1, 1],
        "embed_dim": 48,
        "depth": 1,
        "num_heads": 1,
        "mlp_ratio": 1.5,
        "decoder_dims": [48, 20, 12],
        "decoder_depths": [1, 1],
    },
    "deep stages": {
        "stem_width": 16,
        "stage_dims": [16, 16, 96],
        "stage_depths": [3, 2],
        "embed_dim": 96,
        "depth": 2,
        "num_heads": 6,
        "mlp_ratio": 4.0,
        "decoder_dims": [96, 32, 8],
        "decoder_depths": [3, 4],
    },
}


@pytest.mark.parametrize("sizes", OTHER_SIZES.values(), ids=OTHER_SIZES)
@pytest.mark.parametrize("projection", ["attn", "linear"])
@torch.no_grad()
def test_any_width_depth_and_side_runs(sizes, projection):
    config = MedITokConfig.from_mapping(
        {
            "vocab_size": 300,
            "vocab_width": 24,
            "num_codebooks": 3,
            "embed_dim": 5,
            "quant_proj": projection,
            "variant": sizes,
        }
    )
    model = build_from_scratch(config, seed=1).eval()
    for side in (16, 48, 80):
        output = model(torch.rand(2, 3, side, side) * 2 - 1)
        assert output.rec.shape == (2, 3, side, side)
        assert output.quantised.indices.shape == (2, 3, (side // 16) ** 2)
    assert model.image_embedding(output.post_tokens).shape == (2, 5)


def test_the_contrastive_head_can_be_left_out():
    with torch.device("meta"):
        model = MedITokModel(MedITokConfig.from_mapping(TINY_CONFIG | {"drop_alignment": True}))
    keys = model.state_dict().keys()
    assert not any(key.startswith(("fc_norm", "projection.", "logit_scale")) for key in keys)


def test_a_start_from_scratch_follows_from_its_seed_alone():
    config = MedITokConfig.from_mapping(TINY_CONFIG)
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    first = build_from_scratch(config, seed=3).state_dict()
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(6)
    second = build_from_scratch(config, seed=3).state_dict()
    other = build_from_scratch(config, seed=4).state_dict()
    assert all(torch.equal(first[key], second[key]) for key in first)
    key = "decoder.up_conv4.conv2.weight"
    assert not torch.equal(first[key], other[key])


def test_starting_weights_have_the_published_laws():
    model = build_from_scratch(MedITokConfig.from_mapping(TINY_CONFIG), seed=0)
    linear = model.decoder.blocks[0].mlp.w0.weight
    assert linear.std().item() == pytest.approx(0.02, rel=0.05)
    convolution = model.decoder.up_conv2[0].up.conv.weight
    fan = 9 * (convolution.shape[0] + convolution.shape[1])
    assert convolution.std().item() == pytest.approx(0.5 * (2 / fan) ** 0.5, rel=0.05)
    codes = model.quantizer.books[0].codebook.weight
    assert codes.abs().max().item() == pytest.approx(8**-0.5 / 36, rel=0.01)
    assert not model.quant_proj.attn.q_bias.any()


def test_a_training_pass_reaches_every_weight():
    model = build_from_scratch(MedITokConfig.from_mapping(TINY_CONFIG), seed=0)
    x = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    output = model(x)
    embedding = model.image_embedding(output.post_tokens)
    loss = (output.rec - x).abs().mean() + output.quantised.vq_loss
    (loss + (embedding * model.logit_scale.exp()).square().mean()).backward()
    idle = [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert idle == []


@torch.no_grad()
def test_warm_up_passes_the_latent_on_unquantised():
    model = build_from_scratch(MedITokConfig.from_mapping(TINY_CONFIG), seed=0).eval()
    output = model(torch.rand(1, 3, 32, 32) * 2 - 1, quantise=False)
    assert output.quantised is None
    torch.testing.assert_close(output.z.norm(dim=-1), torch.ones(1, 4, 8))
    torch.testing.assert_close(output.post_tokens, model.post_quant_proj(output.z.flatten(2)))


def test_stochastic_depth_draws_for_an_image_alike_in_any_number_of_processes(monkeypatch):
    sizes = MedITokConfig.from_mapping(TINY_CONFIG).sizes
    blocks = build_blocks(sizes, drop_path=0.5).train()
    assert sum(isinstance(part, BatchDropPath) for part in blocks.modules()) == 2 * sizes.depth - 2
    x = torch.randn(8, 4, sizes.embed_dim)
    with torch.random.fork_rng():
        torch.manual_seed(3)
        whole = blocks(x)
    monkeypatch.setattr(parallel, "world_size", lambda: 2)
    for rank in range(2):
        monkeypatch.setattr(parallel, "rank", lambda: rank)  # noqa: B023
        with torch.random.fork_rng():
            torch.manual_seed(3)
            torch.testing.assert_close(blocks(x[4 * rank :][:4]), whole[4 * rank :][:4])


def test_stochastic_depth_keeps_the_mean_and_rests_outside_training():
    layer, x = BatchDropPath(0.25), torch.ones(4000, 2, 3)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        dropped = layer(x)
    assert dropped.unique().tolist() == pytest.approx([0, 4 / 3])
    assert (dropped.amin(dim=(1, 2)) == dropped.amax(dim=(1, 2))).all()
    assert dropped.mean().item() == pytest.approx(1, abs=0.05)
    assert layer.eval()(x) is x

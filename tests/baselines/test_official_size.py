"""Every published network at its published size, loaded by the keys of its published checkpoint."""

from __future__ import annotations

import pytest
import torch

import medbench
from medbench.harness.entries import HubFile, ManualFile
from medbench.harness.protocol import Encoding
from medbench.harness.tokenizer_registry import choose_tokenizer, tokenizer_entries
from medbench.testing import deterministic_weights

CASES = {
    "meditok@official": ("meditok_simple_v1", 696_648_388),
    "unitok@official": ("unitok_tokenizer", 696_648_388),  # without the caption encoder beside it
    "unitok@official-causal": ("unitok_tokenizer", 696_648_388),
    "tokenflow@official": ("tokenflow_clipb_32k_enhanced", 376_569_643),
    "emu3-vq@official": ("emu3_visiontokenizer", 270_740_287),
    "vqgan@official": ("vqgan_openimages_f8_16384", 67_717_295),
    "vqgan@imagenet-f16": ("vqgan_imagenet_f16_16384", 76_073_859),
    "medvae@official": ("medvae_8_1_2d", 83_644_814),
    "medvae@4x-1c": ("medvae_4_1_2d", 55_316_878),
    "medvae@8x-4c": ("medvae_8_4_2d", 84_460_415),
    "medvae@4x-3c": ("medvae_4_3_2d", 55_913_678),
    "medvae-rgb@official": ("medvae_8_1_2d", 83_644_814),
    "medvae-rgb@4x-1c": ("medvae_4_1_2d", 55_316_878),
    "pumit@official": ("pumit_tokenizer_simple_soft", 34_253_955),
    "pumit-hard@official": ("pumit_tokenizer_simple_soft", 34_253_955),
}
"""The published checkpoint of each variant, and the parameters of the network in it."""

NOT_RUN = {
    "unitok@official-causal",
    "medvae-rgb@official",
    "medvae-rgb@4x-1c",
    "medvae@4x-1c",
    "medvae@4x-3c",
}
"""Networks of the same blocks as one that is run; others check their keys and shapes."""


def _weights(shapes: dict[str, tuple[int, ...]]) -> dict[str, torch.Tensor]:
    """Weights for a checkpoint's keys; the counters of batch norms are integers."""
    weights = deterministic_weights(shapes)
    return {k: v.long() if k.endswith("num_batches_tracked") else v for k, v in weights.items()}


def test_the_cases_are_all_published_variants():
    published = {
        f"{entry.name}@{name}"
        for entry in tokenizer_entries().values()
        for name, variant in entry.variants.items()
        if isinstance(variant.weights, HubFile | ManualFile) and entry.origin == "medbench"
    }
    assert set(CASES) == published


@pytest.mark.slow
@torch.no_grad()
@pytest.mark.parametrize("reference", sorted(set(CASES) - NOT_RUN))
def test_a_published_network_encodes_and_decodes_an_image(layout, reference):
    checkpoint, parameters = CASES[reference]
    ours = medbench.load_tokenizer(reference, weights=_weights(layout(checkpoint)))
    info, declared = ours.info, choose_tokenizer(reference).declared
    assert info.parameters == parameters
    assert info.bits_per_image == declared.bits_per_image
    images = torch.rand(1, 3, 256, 256, generator=torch.Generator().manual_seed(0))
    encoding, again = ours.encode(images), ours.encode(images)
    grid = 256 // info.downsample
    assert encoding.latents.shape == (1, info.latent_dims, grid, grid)
    assert encoding.latents.isfinite().all()
    assert torch.equal(encoding.latents, again.latents)
    decoded = ours.decode(encoding)
    assert decoded.shape == images.shape
    assert decoded.isfinite().all()
    assert decoded.std() > 0
    if info.kind == "discrete":
        assert torch.equal(encoding.indices, again.indices)
        assert encoding.indices.shape == (1, info.codebooks, info.positions)
        assert 0 <= encoding.indices.min() < encoding.indices.max() < info.codebook_size
        assert torch.equal(ours.decode(Encoding(indices=encoding.indices)), decoded)
    else:
        assert torch.equal(ours.decode(again), decoded)

"""How the small networks start: the code that they learn first, and biases in front of norms."""

from __future__ import annotations

import pytest
import torch

from medbench.baselines.pumit_config import PUMITConfig
from medbench.baselines.recipe_pumit import BothSigns
from medbench.harness.errors import UsageError
from medbench.harness.training.presets import presets, recipe_module
from medbench.tokenizers.transform_code import PatchTransform

NAMES = ["vqgan-tiny", "emu3-vq-tiny", "medvae-tiny", "pumit-tiny", "tokenflow-tiny"]


def reconstruct(recipe, images, *, quantise: bool = False):
    generator = torch.Generator().manual_seed(0)
    return recipe.trainable.reconstruct(images, quantise=quantise, generator=generator)


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(3)) * 2 - 1


@pytest.mark.parametrize("name", NAMES)
def test_before_there_are_codes_the_decoder_gets_the_transform_code(small_recipe, images, name):
    recipe = small_recipe(name)
    found = reconstruct(recipe, images)
    assert found.terms["first_code"].requires_grad
    code = recipe.trainable.first_code
    shown = images if found.target is None else found.target
    if name == "tokenflow-tiny":  # one grid of unit vectors after the other, of half the code
        assert code(shown).shape[1] == recipe.trainable.network.config.codebook_embed_dim
    elif name == "medvae-tiny":  # which draws around it
        assert (found.latents - code(shown)).abs().max() > 1e-3
    else:
        assert torch.equal(found.latents, code(shown))


@pytest.mark.parametrize("name", NAMES)
def test_evaluation_and_later_steps_know_no_transform_code(small_recipe, images, name):
    recipe = small_recipe(name)
    assert "first_code" not in reconstruct(recipe, images, quantise=True).terms
    recipe.model.eval()
    assert "first_code" not in reconstruct(recipe, images).terms


@pytest.mark.parametrize("name", NAMES)
def test_without_the_term_there_is_no_transform_code(small_recipe, images, name):
    recipe = small_recipe(name, {"method": {"transform_code": False}})
    assert "first_code" not in reconstruct(recipe, images).terms


@pytest.mark.parametrize("transform_code", [False, True])
def test_a_latent_wider_than_a_patch_is_refused_only_where_it_is_to_be_taught(
    small_config, overlay, transform_code
):
    wide = {"model": {"embed_dim": 193}, "method": {"transform_code": transform_code}}
    make = recipe_module("vqgan").make
    config = overlay(small_config("vqgan-tiny"), wide)
    if not transform_code:
        assert make(config, seed=0).first_code is None
        return
    with pytest.raises(UsageError, match="8 pixels has 192 coefficients"):
        make(config, seed=0)


@pytest.mark.parametrize("name", NAMES)
def test_a_conditioned_start_differs_from_upstreams_in_some_biases_only(small_recipe, name):
    def weights(start: str) -> dict[str, torch.Tensor]:
        recipe = small_recipe(name, {"method": {"start": start}})
        return recipe.trainable.network.state_dict()

    plain, conditioned = weights("upstream"), weights("conditioned")
    changed = {key for key in plain if not torch.equal(plain[key], conditioned[key])}
    assert changed
    assert all(key.endswith("bias") for key in changed)
    spread = torch.cat([conditioned[key] for key in sorted(changed)]).std()
    assert 0.12 < spread < 0.28


def test_both_signs_of_a_code_are_positive_and_give_it_back(images):
    config = PUMITConfig.from_mapping(
        {
            "quantize": {"num_embeddings": 8, "embedding_dim": 24},
            "in_channels": 3,
            "start_stride": 4,
            "downsample_layer_channels": [8, 16, 16],
            "upsample_layer_channels": [8, 16, 24],
        }
    )
    both = BothSigns(config)(images)
    assert (both >= 0).all()
    positive, negative = both.chunk(2, dim=1)
    assert torch.equal(positive - negative, PatchTransform(12, config.downsample)(images))


def test_pumits_first_projection_prefers_the_nearest_embedding(small_recipe, images):
    recipe = small_recipe("pumit-tiny")
    quantizer = recipe.trainable.network.quantize
    book = quantizer.embedding.weight
    with torch.no_grad():
        book.copy_(torch.rand(book.shape, generator=torch.Generator().manual_seed(1)))
        recipe.trainable.codes_placed()
        z = torch.rand(4, book.shape[1], 6, 6, generator=torch.Generator().manual_seed(2))
        rows = z.movedim(1, -1).flatten(0, 2)
        chosen = quantizer.logits(z).flatten(0, 2).argmax(dim=1)
        assert torch.equal(chosen, torch.cdist(rows, book).argmin(dim=1))
        own = quantizer.logits(book[:, :, None, None]).softmax(dim=-1).flatten(0, 2).diagonal()
    assert own.min() > 0.4  # 0.05 for the nearest other one, on average


@pytest.mark.parametrize("name", ["vqgan-tiny", "emu3-vq-tiny", "medvae-tiny", "tokenflow-tiny"])
def test_no_norm_of_the_small_networks_has_groups_of_one_channel(name):
    *_, stage = presets()[name].stages()
    network = recipe_module(stage.config["recipe"]).make(stage.config, seed=0).network
    norms = [m for m in network.modules() if isinstance(m, torch.nn.GroupNorm)]
    assert norms
    assert all(norm.num_channels // norm.num_groups >= 4 for norm in norms)


@pytest.mark.parametrize("name", ["vqgan", "emu3-vq", "tokenflow"])
def test_groups_that_widths_are_no_multiple_of_are_refused(small_config, overlay, name):
    config = small_config(f"{name}-tiny")
    change = {"vqgan": {"ddconfig": {"norm_groups": 5}}, "tokenflow": {"sizes": {"norm_groups": 5}}}
    model = overlay(config["model"], change.get(name, {"norm_groups": 5}))
    with pytest.raises(UsageError, match=r"multiples? of (a )?5"):
        recipe_module(config["recipe"]).make({**config, "model": model}, seed=0)

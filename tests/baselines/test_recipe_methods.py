"""What sets the training of MedVAE, PUMIT, Emu3's tokenizer and VQGAN apart."""

from __future__ import annotations

import pytest
import torch

import medbench
from medbench.baselines.recipe_base import PlainMethod
from medbench.baselines.recipe_emu3 import TrainableEmu3
from medbench.baselines.recipe_medvae import MedVAEMethod, TrainableMedVAE
from medbench.baselines.recipe_pumit import PUMITMethod, TrainablePUMIT
from medbench.baselines.recipe_vqgan import TrainableVQGAN
from medbench.baselines.taming_config import MedVAEConfig, VQGANConfig
from medbench.harness.errors import UsageError
from medbench.harness.protocol import Encoding


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def crops(count: int) -> torch.Tensor:
    return torch.rand(count, 3, 32, 32, generator=generator()) * 2 - 1


def luma(images: torch.Tensor) -> torch.Tensor:
    red, green, blue = images.unbind(1)
    return (0.299 * red + 0.587 * green + 0.114 * blue).unsqueeze(1)


def test_medvae_draws_in_training_and_takes_the_mean_in_evaluation(small_recipe):
    recipe = small_recipe("medvae-tiny")
    network = recipe.trainable.network
    images = crops(2)
    passes = [
        recipe.trainable.reconstruct(images, quantise=True, generator=generator(seed)).images
        for seed in (1, 1, 2)
    ]
    assert torch.equal(passes[0], passes[1])
    assert not torch.equal(passes[0], passes[2])
    recipe.model.eval()
    found = recipe.trainable.reconstruct(images, quantise=True, generator=generator(3))
    assert found.target is not None
    torch.testing.assert_close(found.target, luma(images))
    expected = network.decode_latent(network.encode(luma(images)).mean)
    torch.testing.assert_close(found.images, expected)


def test_medvaes_losses_compare_brightness(small_recipe):
    recipe = small_recipe("medvae-tiny", {"pixels": {"l1": 1.0, "chroma": 0.5}})
    recipe.model.eval()
    batch = next(recipe.batches(0))
    terms = recipe.losses(0, batch, generator()).terms
    network = recipe.trainable.network
    grey = luma(batch.images * 2 - 1)
    rec = network.decode_latent(network.encode(grey).mean)
    torch.testing.assert_close(terms["l1"], (rec - grey).abs().mean())
    # One channel has no colour: what is left is the term's floor.
    assert terms["chroma"].item() == pytest.approx(0.5 * torch.tensor(1e-4).log().item())


def test_medvaes_divergence_is_that_of_torch_over_the_values_of_an_image(small_config):
    model = small_config("medvae-tiny")["model"]
    trainable = TrainableMedVAE(
        MedVAEConfig.from_mapping(model), MedVAEMethod(kl_weight=0.5), seed=0
    )
    images = crops(2)[:, :1].expand(2, 3, 32, 32)
    found = trainable.reconstruct(images, quantise=True, generator=generator())
    posterior = trainable.network.encode(images[:, :1])
    ours = torch.distributions.Normal(posterior.mean, (posterior.logvar / 2).exp())
    unit = torch.distributions.Normal(0.0, 1.0)
    divergence = torch.distributions.kl_divergence(ours, unit).sum() / 2
    torch.testing.assert_close(found.terms["kl"], 0.5 * divergence / 1024)


def test_pumits_losses_are_the_entropies_of_its_probabilities(small_recipe):
    trainable = small_recipe("pumit-tiny").trainable
    assert isinstance(trainable, TrainablePUMIT)
    trainable.method = PUMITMethod(quant_weight=3.0, entropy_weight=2.0)
    found = trainable.reconstruct(crops(2), quantise=True, generator=generator())
    network = trainable.network
    logits = network.quantize.logits(network.encoder(crops(2))).flatten(0, 2)
    each = torch.distributions.Categorical(logits=logits)
    of_mean = torch.distributions.Categorical(probs=each.probs.mean(dim=0))
    torch.testing.assert_close(found.terms["doubt"], 2 * each.entropy().mean())
    torch.testing.assert_close(found.terms["spread"], -3 * of_mean.entropy(), atol=1e-4, rtol=1e-4)


def test_pumit_exports_volume_kernels_whose_sum_over_depth_was_trained(small_recipe):
    recipe = small_recipe("pumit-tiny")
    weights = recipe.trainable.network.state_dict()
    volume = recipe.export(recipe.model.state_dict())
    assert list(volume) == list(weights)
    assert any(v.ndim == 4 for v in weights.values())
    for key, value in weights.items():
        found = volume[key].sum(dim=2) if value.ndim == 4 else volume[key]
        assert torch.equal(found, value)


def test_emu3_takes_running_statistics_for_batches_of_few_images(small_recipe):
    trainable = small_recipe("emu3-vq-tiny").trainable
    assert isinstance(trainable, TrainableEmu3)
    norm = next(m for m in trainable.network.modules() if isinstance(m, torch.nn.BatchNorm3d))
    assert norm.running_mean is not None
    for count, moves in ((4, True), (1, False)):
        before = norm.running_mean.clone()
        trainable.reconstruct(crops(count), quantise=True, generator=generator())
        assert (not torch.equal(before, norm.running_mean)) is moves


@pytest.mark.parametrize(
    ("name", "other"), [("pumit-tiny", "pumit-hard"), ("medvae-tiny", "medvae-rgb")]
)
def test_hard_pumit_and_medvae_in_colour_share_these_weights(
    name, other, small_config, small_recipe
):
    recipe = small_recipe(name)
    ours = medbench.load_tokenizer(
        other,
        config=small_config(name)["model"],
        weights=recipe.export(recipe.model.state_dict()),
    )
    images = torch.rand(1, 3, 32, 32, generator=generator())
    encoding = ours.encode(images)
    assert isinstance(encoding, Encoding)
    assert ours.decode(encoding).shape == images.shape


@pytest.mark.parametrize("change", [{"apply_channel_ds": True}, {"lora_rank": 4}])
def test_parts_of_medvae_that_this_training_would_leave_unfitted_are_refused(change, small_config):
    config = MedVAEConfig.from_mapping({**small_config("medvae-tiny")["model"], **change})
    with pytest.raises(UsageError, match="neither adapters nor the projection"):
        TrainableMedVAE(config, MedVAEMethod(kl_weight=1e-6), seed=0)


def test_a_gumbel_quantiser_is_refused(small_config):
    model = small_config("vqgan-tiny")["model"]
    config = VQGANConfig.from_mapping({**model, "temperature_scheduler_config": {}})
    with pytest.raises(UsageError, match="GumbelVQ cannot be trained"):
        TrainableVQGAN(config, PlainMethod(), seed=0)

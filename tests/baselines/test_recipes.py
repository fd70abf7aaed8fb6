from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import pytest
import torch
import torch.nn.functional as F

import medbench
from medbench.baselines import emu3_pumit_catalogue, taming_catalogue, tokenflow_catalogue
from medbench.baselines import unitok_catalogue as unitok
from medbench.baselines.recipe_medvae import MedVAEMethod, TrainableMedVAE
from medbench.baselines.recipe_pumit import PUMITMethod, TrainablePUMIT
from medbench.baselines.recipe_tokenflow import (
    TokenFlowMethod,
    TrainableTokenFlow,
    pass_scales,
    shrunk_scales,
)
from medbench.baselines.recipe_vq import TrainableVQGAN
from medbench.baselines.semantic_teacher import RandomConvTeacher, find_teacher
from medbench.baselines.taming_config import MedVAEConfig, VQGANConfig
from medbench.baselines.tokenflow_config import TokenFlowConfig
from medbench.harness.errors import UsageError
from medbench.harness.protocol import Encoding
from medbench.harness.registry import load_target
from medbench.harness.training.presets import PRESETS, read_config
from medbench.harness.training.reconstruction import ReconstructionPlan, ReconstructionRecipe
from medbench.harness.training.settings import TrainingSettings
from medbench.tokenizers.catalogue import TINY_CONFIG as MEDITOK_TINY_CONFIG
from medbench.tokenizers.meditok_config import MedITokConfig
from medbench.tokenizers.meditok_model import MedITokModel

TRUNK = {"ch": 32, "ch_mult": [1, 1, 1, 1], "num_res_blocks": 1}
TINY = {
    "vqgan-tiny": taming_catalogue.VQGAN_TINY_CONFIG,
    "emu3-vq-tiny": emu3_pumit_catalogue.EMU3_TINY_CONFIG,
    "medvae-tiny": taming_catalogue.MEDVAE_TINY_CONFIG,
    "pumit-tiny": emu3_pumit_catalogue.PUMIT_TINY_CONFIG,
    "tokenflow-tiny": tokenflow_catalogue.TOKENFLOW_TINY_CONFIG,
    "unitok-tiny": unitok.UNITOK_TINY_CONFIG,
}
SMALLER: dict[str, dict[str, Any]] = {
    "vqgan-tiny": {"n_embed": 64, "ddconfig": TRUNK},
    "emu3-vq-tiny": TRUNK | {"codebook_size": 64},
    "medvae-tiny": {"ddconfig": TRUNK},
    "pumit-tiny": {
        "quantize": {"num_embeddings": 32, "embedding_dim": 32},
        "downsample_layer_channels": [8, 16, 32],
        "upsample_layer_channels": [8, 16, 32],
    },
    "tokenflow-tiny": {
        "args": {
            "codebook_size": 64,
            "z_channels": 16,
            "encoder_ch_mult": [1, 1, 1, 1, 1],
            "decoder_ch_mult": [1, 1, 1, 1, 1],
        },
        "sizes": {"dim": 32, "img": 32, "scales": [1, 2], "scales_interp": [1, 2, 4]},
    },
    "unitok-tiny": {
        "embed_dim": 16,
        "vocab_size": 128,
        "vocab_width": 16,
        "num_codebooks": 2,
        "variant": {
            "stem_width": 8,
            "stage_dims": [8, 8, 16],
            "embed_dim": 16,
            "depth": 1,
            "num_heads": 2,
            "decoder_dims": [16, 8, 8],
        },
    },
}
UNITOK_WITHOUT_PART = {
    "encoder.pos_embed",
    "fc_norm.weight",
    "fc_norm.bias",
    "projection.weight",
    "projection.bias",
    "logit_scale",
}
"""The contrastive head, and a table that upstream stores but never adds."""
WITH_BOOKS = ["vqgan-tiny", "emu3-vq-tiny", "tokenflow-tiny", "unitok-tiny"]
PLAN = {
    "pools": [{"source": "textures", "count": 2, "seed": 0, "size": 64}],
    "shares": [1.0],
    "crop": 32,
    "batch_size": 4,
    "whole": 64,
    "whole_from": 50,
    "quantise_from": 2,
    "revive_until": 50,
    "revive_every": 2,
    "chroma_from": 0,
}
SETTINGS = TrainingSettings(steps=40, learning_rate=2e-3, gradient_clip=1.0, ema_decay=0.9)


def overlaid(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = deepcopy(dict(below))
    for name, value in above.items():
        inner = isinstance(value, Mapping) and name in merged
        merged[name] = overlaid(merged[name], value) if inner else value
    return merged


def small_config(name: str) -> dict[str, Any]:
    """A preset with everything made small."""
    return overlaid(read_config(PRESETS[name].config), {"model": SMALLER[name], "plan": PLAN})


@pytest.fixture(scope="module", autouse=True)
def few_batches_for_kmeans():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("medbench.harness.training.reconstruction._KMEANS_BATCHES", 4)
        yield


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    return tmp_path_factory.mktemp("work")


def make(name: str, work) -> ReconstructionRecipe:
    return load_target(PRESETS[name].recipe)(small_config(name), SETTINGS, work)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def total(recipe: ReconstructionRecipe, step: int, seed: int = 5) -> torch.Tensor:
    return torch.stack(list(recipe.losses(step, generator(seed)).terms.values())).sum()


def train(recipe: ReconstructionRecipe, start: int, stop: int, optimiser) -> None:
    for step in range(start, stop):
        recipe.before_step(step)
        optimiser.zero_grad()
        total(recipe, step, seed=7 + step % 2).backward()
        torch.nn.utils.clip_grad_norm_(recipe.model.parameters(), 1.0)
        optimiser.step()
        recipe.after_step(step, generator(step))


@pytest.fixture(scope="module", params=list(TINY))
def trained(request, work):
    """A recipe after some steps on two batches, with their losses before and after them."""
    name = request.param
    recipe = make(name, work)
    optimiser = torch.optim.AdamW(recipe.model.parameters(), lr=2e-3)
    recipe.before_step(2)
    before = [total(recipe, 2, seed).item() for seed in (7, 8)]
    train(recipe, 2, 12, optimiser)
    after = [total(recipe, 12, seed).item() for seed in (7, 8)]
    return name, recipe, before, after


def test_some_steps_lower_the_loss(trained):
    _, _, before, after = trained
    assert sum(after) < sum(before) - 0.05


def test_every_parameter_gets_a_finite_gradient(trained):
    name, recipe, *_ = trained
    recipe.model.zero_grad()
    total(recipe, 12).backward()
    without = {
        key
        for key, value in recipe.model.named_parameters()
        if value.grad is None or not value.grad.any()
    }
    assert without == (UNITOK_WITHOUT_PART if name == "unitok-tiny" else set())
    assert all(p.grad is None or p.grad.isfinite().all() for p in recipe.model.parameters())


def exported(recipe: ReconstructionRecipe, name: str):
    """The registered tokenizer with what a recipe exports."""
    return medbench.load_tokenizer(
        name.removesuffix("-tiny"),
        config=small_config(name)["model"],
        weights=recipe.export(recipe.model.state_dict()),
    )


def test_what_is_exported_reconstructs_as_what_was_trained(trained):
    name, recipe, *_ = trained
    ours = exported(recipe, name)
    images = torch.rand(2, 3, 64, 64, generator=generator())
    recipe.model.eval()
    with torch.no_grad():
        found = recipe.trainable.reconstruct(
            images * 2 - 1, quantise=True, generator=generator()
        ).images
    recipe.model.train()
    expected = (found + 1) / 2
    rec = ours.decode(ours.encode(images))
    torch.testing.assert_close(rec, expected.expand_as(rec), atol=1e-5, rtol=0)


def test_a_taken_up_state_goes_on_with_the_same_bits(trained, work):
    name, recipe, *_ = trained
    other = make(name, work)
    other.model.load_state_dict(deepcopy(recipe.model.state_dict()))
    other.load_state_dict(deepcopy(recipe.state_dict()))
    pair = (recipe, other)
    rates = [torch.optim.SGD(each.model.parameters(), lr=0.01) for each in pair]
    for each, rate in zip(pair, rates, strict=True):
        train(each, 13, 15, rate)
    assert torch.equal(total(recipe, 15), total(other, 15))
    assert all(map(torch.equal, *(each.model.state_dict().values() for each in pair)))


@pytest.mark.parametrize("name", list(TINY))
def test_two_recipes_of_one_seed_start_alike(name, work):
    first, second = make(name, work), make(name, work)
    assert all(map(torch.equal, *(r.model.state_dict().values() for r in (first, second))))
    assert torch.equal(total(first, 0), total(second, 0))


@pytest.mark.parametrize("name", WITH_BOOKS)
def test_the_keeper_puts_codes_where_vectors_are_and_revives_dead_ones(name, work):
    recipe = make(name, work)
    assert recipe.keeper is not None
    raw = [book.detach().clone() for book in recipe.trainable.books()]
    drawn = used_codes(recipe)
    recipe.before_step(2)
    placed = [book.detach().clone() for book in recipe.trainable.books()]
    assert all((old != new).any(dim=1).all() for old, new in zip(raw, placed, strict=True))
    assert used_codes(recipe) > drawn
    recipe.losses(2, generator())
    recipe.keeper.usage[0][:] = 1
    recipe.keeper.usage[0][5:15] = 0
    recipe.after_step(4, generator())
    changed = (recipe.trainable.books()[0].detach() != placed[0]).any(dim=1)
    assert changed.nonzero().flatten().tolist() == list(range(5, 15))


def used_codes(recipe: ReconstructionRecipe) -> int:
    with torch.no_grad():
        images = recipe._source.batch(32, 32, generator(9)) * 2 - 1
        found = recipe.trainable.reconstruct(images, quantise=True, generator=generator())
    return len(found.indices[:, 0].unique())


def test_tokenflows_two_embeddings_are_the_book_that_the_keeper_changes(work):
    recipe = make("tokenflow-tiny", work)
    (book,) = recipe.trainable.books()
    book[3] = 2.0
    book[3, 32:] = 5.0
    quantizer = recipe.model.quantize
    assert (quantizer.embedding_vqkd.weight[3] == 2).all()
    assert (quantizer.embedding_vqgan.weight[3] == 5).all()
    recipe.model.load_state_dict({k: v + 1 for k, v in recipe.model.state_dict().items()})
    assert (book[3, :32] == 3).all()


def test_tokenflows_training_pass_takes_the_codes_that_encoding_takes(work):
    recipe = make("tokenflow-tiny", work)
    quantizer = recipe.model.quantize
    z = torch.randn(3, 40, 4, 4, generator=generator())
    found = pass_scales(quantizer, z, (1, 2, 4), quantise=True)
    expected = quantizer.encode_scales(z, (1, 2, 4))
    assert found.indices is not None
    parts = found.indices.flatten().split([3, 12, 48])
    taken = torch.cat([part.unflatten(0, (3, -1)) for part in parts], dim=1)
    assert torch.equal(taken, expected.indices)
    torch.testing.assert_close(found.zq, expected.zq, atol=1e-5, rtol=1e-5)


def test_tokenflows_pass_without_codes_is_one_with_a_perfect_book(work):
    recipe = make("tokenflow-tiny", work)
    z = torch.randn(1, 40, 2, 2, generator=generator())
    plain = pass_scales(recipe.model.quantize, z, (1, 2), quantise=False)
    book = recipe.trainable.books()[0]
    book[:5] = plain.vectors.squeeze(1)
    coded = pass_scales(recipe.model.quantize, z, (1, 2), quantise=True)
    torch.testing.assert_close(coded.zq, plain.zq, atol=1e-5, rtol=1e-5)
    assert coded.terms["vq"].item() == pytest.approx(0, abs=1e-10)


@pytest.mark.parametrize(
    ("grid", "expected"),
    [
        (16, (1, 2, 4, 6, 8, 10, 12, 14, 16)),
        (8, (1, 1, 2, 3, 4, 5, 6, 7, 8)),
        (1, (1, 1, 1, 1, 1, 1, 1, 1, 1)),
    ],
)
def test_scales_shrink_with_the_grid_and_stay_as_many(grid, expected):
    assert shrunk_scales((1, 2, 4, 6, 8, 10, 12, 14, 16), grid) == expected


def test_a_scale_is_dropped_now_and_then_but_not_the_first_and_only_in_training():
    model = small_config("tokenflow-tiny")["model"]
    method = TokenFlowMethod("random-conv", 1.0, scale_drop=0.5)
    trainable = TrainableTokenFlow(TokenFlowConfig.from_mapping(model), method, seed=0)
    seen = [trainable._scales(4, generator(seed)) for seed in range(200)]
    assert set(seen) == {(1, 2, 4), (1, 4), (1, 2)}
    assert 70 < seen.count((1, 2, 4)) < 130
    trainable.network.eval()
    assert {trainable._scales(4, generator(seed)) for seed in range(20)} == {(1, 2, 4)}


def test_the_random_teacher_is_fixed_centred_and_sees_one_cell_of_the_grid():
    first, second = RandomConvTeacher(), find_teacher("random-conv")
    images = torch.rand(2, 3, 64, 96, generator=generator()) * 2 - 1
    assert first(images).shape == (2, 24, first.dims)
    assert torch.equal(first(images), second(images))
    noise = torch.rand(64, 3, 8, 8, generator=generator(0)) * 2 - 1
    found = first(F.interpolate(noise, size=(64, 64), mode="bilinear")).flatten(0, 1)
    assert found.mean(dim=0).abs().max() < 1e-4
    changed = images.clone()
    changed[:, :, 48:, 80:] = 0
    same = (first(changed) == first(images)).all(dim=2).unflatten(1, (4, 6))
    assert same[:, :2, :4].all()
    assert not same[:, 3, 5].any()


def test_an_unknown_teacher_and_one_of_another_width_are_refused():
    with pytest.raises(UsageError, match="unknown teacher 'clip'; known: random-conv"):
        find_teacher("clip")
    model = overlaid(small_config("tokenflow-tiny")["model"], {"sizes": {"out": 7}})
    method = TokenFlowMethod("random-conv", 1.0, 0.1)
    with pytest.raises(UsageError, match=r"192 features per cell, the semantic decoder 7"):
        TrainableTokenFlow(TokenFlowConfig.from_mapping(model), method, seed=0)


def test_medvae_draws_in_training_and_takes_the_mean_in_evaluation(work):
    recipe = make("medvae-tiny", work)
    images = torch.rand(2, 3, 32, 32, generator=generator()) * 2 - 1
    passes = [
        recipe.trainable.reconstruct(images, quantise=True, generator=generator(seed)).images
        for seed in (1, 1, 2)
    ]
    assert torch.equal(passes[0], passes[1])
    assert not torch.equal(passes[0], passes[2])
    recipe.model.eval()
    found = recipe.trainable.reconstruct(images, quantise=True, generator=generator(3))
    red, green, blue = images.unbind(1)
    luma = (0.299 * red + 0.587 * green + 0.114 * blue).unsqueeze(1)
    assert found.target is not None
    torch.testing.assert_close(found.target, luma)
    expected = recipe.model.decode_latent(recipe.model.encode(luma).mean)
    torch.testing.assert_close(found.images, expected)


def test_medvaes_divergence_is_that_of_torch_over_the_values_of_an_image():
    model = small_config("medvae-tiny")["model"]
    trainable = TrainableMedVAE(MedVAEConfig.from_mapping(model), MedVAEMethod(0.5), seed=0)
    images = (torch.rand(2, 1, 32, 32, generator=generator()) * 2 - 1).expand(2, 3, 32, 32)
    found = trainable.reconstruct(images, quantise=True, generator=generator())
    posterior = trainable.network.encode(images[:, :1])
    ours = torch.distributions.Normal(posterior.mean, (posterior.logvar / 2).exp())
    unit = torch.distributions.Normal(0.0, 1.0)
    divergence = torch.distributions.kl_divergence(ours, unit).sum() / 2
    torch.testing.assert_close(found.terms["kl"], 0.5 * divergence / 1024)


def test_pumits_losses_are_the_entropies_of_its_probabilities(work):
    recipe = make("pumit-tiny", work)
    assert isinstance(recipe.trainable, TrainablePUMIT)
    recipe.trainable.method = PUMITMethod(quant_weight=3.0, entropy_weight=2.0)
    images = torch.rand(2, 3, 32, 32, generator=generator()) * 2 - 1
    found = recipe.trainable.reconstruct(images, quantise=True, generator=generator())
    logits = recipe.model.quantize.logits(recipe.model.encoder(images)).flatten(0, 2)
    each = torch.distributions.Categorical(logits=logits)
    of_mean = torch.distributions.Categorical(probs=each.probs.mean(dim=0))
    torch.testing.assert_close(found.terms["doubt"], 2 * each.entropy().mean())
    torch.testing.assert_close(found.terms["spread"], -3 * of_mean.entropy(), atol=1e-4, rtol=1e-4)


def test_pumit_exports_volume_kernels_whose_sum_over_depth_was_trained(work):
    recipe = make("pumit-tiny", work)
    weights = recipe.model.state_dict()
    volume = recipe.export(weights)
    assert list(volume) == list(weights)
    assert {v.ndim for k, v in weights.items() if v.ndim == 4} == {4}
    for key, value in weights.items():
        found = volume[key].sum(dim=2) if value.ndim == 4 else volume[key]
        assert torch.equal(found, value)


def test_emu3_takes_running_statistics_for_batches_of_few_images(work):
    recipe = make("emu3-vq-tiny", work)
    (norm, *_) = [m for m in recipe.model.modules() if isinstance(m, torch.nn.BatchNorm3d)]
    images = torch.rand(4, 3, 32, 32, generator=generator()) * 2 - 1
    for count, moves in ((4, True), (1, False)):
        before = norm.running_mean.clone()
        recipe.trainable.reconstruct(images[:count], quantise=True, generator=generator())
        assert (not torch.equal(before, norm.running_mean)) is moves


def test_hard_pumit_and_medvae_in_colour_share_these_weights(work):
    images = torch.rand(1, 3, 32, 32, generator=generator())
    for name, other in (("pumit-tiny", "pumit-hard"), ("medvae-tiny", "medvae-rgb")):
        recipe = make(name, work)
        ours = medbench.load_tokenizer(
            other,
            config=small_config(name)["model"],
            weights=recipe.export(recipe.model.state_dict()),
        )
        assert ours.decode(ours.encode(images)).shape == images.shape
        assert isinstance(ours.encode(images), Encoding)


@pytest.mark.parametrize("name", list(TINY))
def test_presets_train_the_tiny_networks_of_the_catalogue_under_one_budget(name):
    config, common = read_config(PRESETS[name].config), read_config(PRESETS["vqgan-tiny"].config)
    assert config["model"] == TINY[name]
    assert config["settings"] == common["settings"]
    assert config["plan"] == common["plan"]
    plan = ReconstructionPlan.from_mapping(config["plan"])
    steps = config["settings"]["steps"]
    assert 0 < plan.quantise_from < plan.revive_until < plan.whole_from < steps


@pytest.mark.parametrize("name", list(TINY))
def test_tiny_networks_are_as_large_as_meditoks_within_a_fifth(name, monkeypatch, tmp_path):
    monkeypatch.setattr("medbench.harness.training.reconstruction.open_pool", lambda *_, **__: [])
    monkeypatch.setattr("medbench.harness.training.reconstruction.CropSource", lambda *_: None)
    config = dict(read_config(PRESETS[name].config))
    recipe = load_target(PRESETS[name].recipe)(config, SETTINGS, tmp_path)
    weights = recipe.export(recipe.model.state_dict())
    label = name.removesuffix("-tiny")
    info = medbench.load_tokenizer(label, config=config["model"], weights=weights).info
    with torch.device("meta"):
        meditok = MedITokModel(MedITokConfig.from_mapping(MEDITOK_TINY_CONFIG))
    assert abs(info.parameters / sum(p.numel() for p in meditok.parameters()) - 1) <= 0.2
    assert info.resolution == 256
    published = {"vqgan": 8, "emu3-vq": 8, "medvae": 8, "pumit": 16, "tokenflow": 16, "unitok": 16}
    assert info.downsample == published[label]
    assert info.codebooks == 0 or info.codebook_size >= 1024
    # In half precision; the limit of a file that ships with the package.
    assert 2 * sum(value.numel() for value in weights.values()) <= 6_000_000


def test_what_this_training_would_leave_unfitted_is_refused():
    model = small_config("medvae-tiny")["model"]
    for change in ({"apply_channel_ds": True}, {"lora_rank": 4}):
        with pytest.raises(UsageError, match="neither adapters nor the projection"):
            config = MedVAEConfig.from_mapping({**model, **change})
            TrainableMedVAE(config, MedVAEMethod(1e-6), seed=0)
    gumbel = overlaid(
        small_config("vqgan-tiny")["model"],
        {"embed_dim": 4, "temperature_scheduler_config": {}},
    )
    with pytest.raises(UsageError, match="GumbelVQ cannot be trained"):
        TrainableVQGAN(VQGANConfig.from_mapping(gumbel), seed=0)


@pytest.mark.parametrize(
    ("method", "said"),
    [
        ({}, "'method' lacks kl_weight"),
        ({"kl_weight": 1.0, "beta": 2}, "unknown configuration terms: 'beta'"),
        ([1], "'method' must hold kl_weight by name"),
    ],
)
def test_a_method_with_wrong_terms_is_refused(method, said, work):
    config = {**small_config("medvae-tiny"), "method": method}
    with pytest.raises(UsageError, match=said):
        load_target(PRESETS["medvae-tiny"].recipe)(config, SETTINGS, work)


def test_a_state_that_no_method_wrote_is_refused(work):
    with pytest.raises(UsageError, match="remembers nothing"):
        make("pumit-tiny", work).trainable.load_state_dict({"batches": 1})

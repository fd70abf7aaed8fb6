"""What a stage adds to MedITok's reconstruction: a discriminator, a distance, a teacher."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from medbench.harness.errors import UsageError
from medbench.harness.training import alignment
from medbench.harness.training.config_terms import read_fields
from medbench.harness.training.presets import presets
from medbench.harness.training.settings import TrainingSettings
from medbench.harness.training.teachers.protocol import Side, Teacher
from medbench.harness.training.tokenizer_recipe import TokenizerRecipe
from medbench.tokenizers.meditok_recipe import build

ALIGNMENT = {"teacher": {"name": "toy"}, "side": "vision", "weight": 0.5}


class ToyTeacher(Teacher):
    """Linear towers on the mean colour; a text's embedding follows from its length."""

    vision_dims, text_dims = 6, 5

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(1)
            self.visual, self.text = nn.Linear(3, 6), nn.Linear(1, 5)

    def embed_images(self, images: Tensor) -> Tensor:
        return self.visual(images.mean(dim=(2, 3)))

    def embed_texts(self, texts: list[str]) -> Tensor:
        return self.text(torch.tensor([[float(len(text))] for text in texts]))

    def tower(self, side: Side) -> nn.Module:
        return self.visual if side == "vision" else self.text

    def keep_only(self, side: Side) -> None:
        del side


@pytest.fixture
def make(tmp_path, monkeypatch) -> Callable[..., TokenizerRecipe]:
    """The recipe of the smoke preset's first stage, without what it adds, on two textures."""
    monkeypatch.setattr(alignment, "build_teacher", lambda *_: ToyTeacher())

    def make_recipe(images: str = "textures", **change: Any) -> TokenizerRecipe:
        stage = next(s for s in presets()["smoke"].stages() if s.name == "stage1")
        config = {k: stage.config[k] for k in ("recipe", "model", "settings", "data")}
        pools = [{"source": images, "count": 2, "seed": 0, "size": 64}]
        source = {**config["data"]["source"], "pools": pools}
        config["data"] = {**config["data"], "source": source, "batch_size": 4}
        config = {**config, **change}
        settings = read_fields(TrainingSettings, config["settings"], "settings")
        return build(config, settings, tmp_path)

    return make_recipe


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def losses(recipe: TokenizerRecipe, step: int = 0):
    return recipe.losses(step, next(recipe.batches(step)), generator())


def test_the_model_holds_the_network_as_core_and_upstreams_heads_beside_it(make):
    recipe = make(alignment=ALIGNMENT)
    names = {name.split(".")[0] for name in recipe.model.state_dict()}
    assert names == {"core", "text_fc_norm", "text_projection"}
    exported = recipe.export(recipe.model.state_dict())
    assert list(exported) == list(recipe.trainable.network.state_dict())
    assert {n.split(".")[0] for n in make().model.state_dict()} == {"core"}


def test_a_teacher_pulls_at_the_network_only_after_the_heads_own_steps(make):
    recipe = make(alignment={**ALIGNMENT, "head_steps": 2})
    for step, pulled in ((1, False), (2, True)):
        recipe.model.zero_grad()
        losses(recipe, step).terms["alignment"].backward()
        network = recipe.trainable.network
        body = (*network.encoder.parameters(), *network.quant_proj.parameters())
        assert any(p.grad is not None and bool(p.grad.any()) for p in body) is pulled
        assert network.projection.weight.grad.any()
        assert recipe.model.get_submodule("text_projection").weight.grad.any()


@pytest.mark.parametrize("image_head", ["projection", "pooled-mlp"])
def test_the_aligned_loss_is_that_of_the_alignment_on_the_networks_own_output(make, image_head):
    recipe = make(alignment={**ALIGNMENT, "image_head": image_head})
    recipe.model.eval()
    batch = next(recipe.batches(0))
    found = recipe.losses(0, batch, generator())
    network, images = recipe.trainable.network, batch.images * 2 - 1
    with torch.no_grad():
        latent = network.quantizer(network.encode_latent(images)).zq
        tokens = network.post_quant_proj(latent)
        features = (
            latent.mean(dim=1) if image_head == "pooled-mlp" else network.image_embedding(tokens)
        )
        expected, told = recipe.alignment(
            features, images=images, texts=batch.texts, logit_scale=network.logit_scale
        )
    torch.testing.assert_close(found.terms["alignment"], expected)
    torch.testing.assert_close(found.readings["retrieval"], told["retrieval"])


def test_the_temperature_is_kept_in_its_range_after_a_step_where_there_is_a_teacher(make):
    for config, largest in (({"alignment": ALIGNMENT}, 4.6052), ({}, 9.0)):
        recipe = make(**config)
        scale = recipe.trainable.network.logit_scale
        scale.data.fill_(9.0)
        recipe.after_step(0, generator())
        assert scale.item() == pytest.approx(largest)
        scale.data.fill_(-1.0)
        recipe.after_step(0, generator())
        assert scale.item() == (0.0 if config else -1.0)


def test_images_without_a_caption_are_left_out_on_the_text_side(make):
    recipe = make("medsynth", alignment={**ALIGNMENT, "side": "text"})
    recipe.model.eval()
    batch = replace(next(recipe.batches(0)), texts=["", "a", "ccc", "dddddd"])
    rest = replace(batch, images=batch.images[1:], texts=batch.texts[1:])
    found, expected = (
        recipe.losses(0, each, generator()).terms["alignment"] for each in (batch, rest)
    )
    assert found > 0
    torch.testing.assert_close(found, expected)


def test_a_source_without_captions_cannot_be_aligned_with_texts(make):
    with pytest.raises(UsageError, match="none of the first 64 training images has a caption"):
        make("textures", alignment={**ALIGNMENT, "side": "text"})


def test_a_network_without_contrastive_head_cannot_be_aligned(make):
    stage = next(s for s in presets()["smoke"].stages() if s.name == "stage1")
    with pytest.raises(UsageError, match="drop_alignment"):
        make(alignment=ALIGNMENT, model={**stage.config["model"], "drop_alignment": True})


def test_a_discriminator_judges_each_batch_once_and_moves_only_in_its_own_turn(make):
    recipe = make(adversarial={"kind": "patch", "weight": 0.1})
    assert recipe.opponent is not None
    found = losses(recipe)
    torch.stack(list(found.terms.values())).sum().backward()
    assert all(p.grad is None for p in recipe.opponent.parameters())
    assert found.terms["adversarial"].isfinite()
    recipe.model.zero_grad()
    terms = recipe.opponent_terms(0, generator())
    assert set(terms) == {"discriminator", "consistency"}
    torch.stack(list(terms.values())).sum().backward()
    assert all(p.grad is not None for p in recipe.opponent.parameters())
    assert all(p.grad is None for p in recipe.model.parameters())
    assert recipe.opponent_terms(0, generator()) == {}


def test_the_opponents_weights_are_no_part_of_what_is_saved(make):
    recipe = make(adversarial={"kind": "patch"})
    assert set(recipe.model.state_dict()) == set(make().model.state_dict())


def test_the_adaptive_weight_balances_against_the_terms_that_compare_images_only(make):
    plain = make(adversarial={"kind": "patch"})
    other = make(adversarial={"kind": "patch"}, alignment={**ALIGNMENT, "weight": 1e3})
    first, second = (losses(recipe).terms["adversarial"] for recipe in (plain, other))
    torch.testing.assert_close(first, second)


def test_a_perceptual_distance_counts_with_its_weight(make):
    terms = [
        losses(make(perceptual={"kind": "random-conv", "weight": weight})).terms["perceptual"]
        for weight in (1.0, 0.25)
    ]
    assert terms[0] > 0
    torch.testing.assert_close(terms[1], terms[0] / 4)

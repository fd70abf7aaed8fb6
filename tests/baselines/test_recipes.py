from __future__ import annotations

from copy import deepcopy

import pytest
import torch

import medbench
from medbench.harness.errors import UsageError
from medbench.harness.training import parallel
from medbench.harness.training.config_terms import read_fields
from medbench.harness.training.ema import WeightAverage
from medbench.harness.training.presets import recipe_module
from medbench.harness.training.settings import TrainingSettings
from medbench.harness.training.tokenizer_recipe import TokenizerRecipe

NAMES = ["vqgan-tiny", "emu3-vq-tiny", "medvae-tiny", "pumit-tiny", "tokenflow-tiny", "unitok-tiny"]
WITH_BOOKS = ["vqgan-tiny", "emu3-vq-tiny", "tokenflow-tiny", "unitok-tiny"]
UNITOK_WITHOUT_PART = {
    "core.encoder.pos_embed",
    "core.fc_norm.weight",
    "core.fc_norm.bias",
    "core.projection.weight",
    "core.projection.bias",
    "core.logit_scale",
}
"""The contrastive head, and a table that upstream stores but never adds."""

STOP = {"pumit-tiny": 42}
"""K-means leaves PUMIT's spread nearly at its best; it has to come back there."""


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def total(recipe: TokenizerRecipe, step: int, batch_of: int = 5) -> torch.Tensor:
    """Loss at a step on the batch of another step, so that a batch can be met again."""
    batch = next(recipe.batches(batch_of))
    return torch.stack(list(recipe.losses(step, batch, generator()).terms.values())).sum()


def train(recipe: TokenizerRecipe, start: int, stop: int, optimiser) -> None:
    for step in range(start, stop):
        recipe.before_step(step)
        optimiser.zero_grad()
        total(recipe, step, batch_of=7 + step % 2).backward()
        torch.nn.utils.clip_grad_norm_(recipe.model.parameters(), 1.0)
        optimiser.step()
        recipe.after_step(step, generator(step))


@pytest.fixture(scope="module", params=NAMES)
def trained(request, small_recipe):
    """A recipe after some steps on two batches, with their losses before and after them."""
    recipe = small_recipe(request.param)
    optimiser = torch.optim.AdamW(recipe.model.parameters(), lr=2e-3)
    recipe.before_step(2)
    before = [total(recipe, 2, place).item() for place in (7, 8)]
    train(recipe, 2, STOP.get(request.param, 12), optimiser)
    after = [total(recipe, 12, place).item() for place in (7, 8)]
    return request.param, recipe, before, after


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


def test_what_is_exported_reconstructs_as_what_was_trained(trained, small_config):
    name, recipe, *_ = trained
    ours = medbench.load_tokenizer(
        name.removesuffix("-tiny"),
        config=small_config(name)["model"],
        weights=recipe.export(recipe.model.state_dict()),
    )
    images = torch.rand(2, 3, 64, 64, generator=generator())
    recipe.model.eval()
    with torch.no_grad():
        found = recipe.trainable.reconstruct(
            images * 2 - 1, quantise=True, generator=generator()
        ).images
    recipe.model.train()
    expected = (found + 1) / 2
    rec = ours.decode(ours.encode(images))
    torch.testing.assert_close(
        rec.clamp(0, 1), expected.expand_as(rec).clamp(0, 1), atol=1e-5, rtol=0
    )


def test_a_look_at_held_out_images_scores_them_and_leaves_the_recipe_as_it_was(trained):
    name, recipe, *_ = trained
    before = deepcopy(recipe.model.state_dict())
    recipe.model.eval()
    with torch.no_grad():
        found = recipe.validate(12)
    recipe.model.train()
    assert 3 < found.scores["psnr"] < 60
    assert -1 <= found.scores["ssim"] <= 1
    assert (0 < found.scores.get("usage", 0) <= 1) is (name in WITH_BOOKS)
    assert found.picture is not None
    assert found.picture.shape == (192, 64, 3)
    assert all(map(torch.equal, before.values(), recipe.model.state_dict().values()))


def test_a_taken_up_state_goes_on_with_the_same_bits(trained, small_recipe):
    name, recipe, *_ = trained
    other = small_recipe(name)
    other.model.load_state_dict(deepcopy(recipe.model.state_dict()))
    other.load_state_dict(deepcopy(recipe.state_dict()))
    pair = (recipe, other)
    rates = [torch.optim.SGD(each.model.parameters(), lr=0.01) for each in pair]
    for each, rate in zip(pair, rates, strict=True):
        train(each, 13, 15, rate)
    assert torch.equal(total(recipe, 15), total(other, 15))
    assert all(map(torch.equal, *(each.model.state_dict().values() for each in pair)))


@pytest.mark.parametrize("name", NAMES)
def test_two_recipes_of_one_seed_start_alike_and_another_seed_does_not(name, small_recipe):
    first, second = small_recipe(name), small_recipe(name)
    assert all(map(torch.equal, *(r.model.state_dict().values() for r in (first, second))))
    assert torch.equal(total(first, 0), total(second, 0))
    other = small_recipe(name, {"settings": {"seed": 1}})
    assert not torch.equal(total(first, 0), total(other, 0))


@pytest.mark.parametrize("name", WITH_BOOKS)
def test_the_keeper_puts_codes_where_vectors_are_and_revives_dead_ones(name, small_recipe):
    recipe = small_recipe(name)
    assert recipe.keeper is not None
    raw = [book.detach().clone() for book in recipe.trainable.books()]
    drawn = used_codes(recipe)
    recipe.before_step(1)
    assert all(map(torch.equal, raw, recipe.trainable.books()))
    recipe.before_step(2)
    placed = [book.detach().clone() for book in recipe.trainable.books()]
    assert all((old != new).any(dim=1).all() for old, new in zip(raw, placed, strict=True))
    assert used_codes(recipe) > drawn
    total(recipe, 2)
    recipe.keeper.usage[0][:] = 1
    recipe.keeper.usage[0][5:15] = 0
    recipe.after_step(3, generator())
    assert torch.equal(recipe.trainable.books()[0].detach(), placed[0])
    recipe.after_step(4, generator())
    changed = (recipe.trainable.books()[0].detach() != placed[0]).any(dim=1)
    assert changed.nonzero().flatten().tolist() == list(range(5, 15))


PLACED = {
    "vqgan-tiny": {"core.quantize.embedding.weight"},
    "emu3-vq-tiny": {"core.quantize.embedding.weight"},
    "pumit-tiny": {f"core.quantize.{p}" for p in ("embedding.weight", "proj.weight", "proj.bias")},
    "tokenflow-tiny": {f"core.quantize.embedding_{half}.weight" for half in ("vqkd", "vqgan")},
    "unitok-tiny": {f"core.quantizer.codebooks.{k}.codebook.weight" for k in range(2)},
}


@pytest.mark.parametrize("name", PLACED)
def test_the_running_mean_takes_over_placed_and_revived_codes_and_nothing_else(name, small_recipe):
    recipe = small_recipe(name)
    recipe.average = average = WeightAverage(recipe.model, 0.9)
    taken = average.weights

    def differing() -> set[str]:
        mine = dict(recipe.model.named_parameters())
        return {key for key, value in mine.items() if not torch.equal(taken[key], value)}

    with torch.no_grad():
        for value in recipe.model.parameters():
            value.add_(1e-3)  # as a step of training does
    before = differing()
    recipe.before_step(2)
    assert before - differing() == PLACED[name]
    if name in WITH_BOOKS:
        total(recipe, 2)
        assert recipe.keeper is not None
        for usage in recipe.keeper.usage:
            usage[:] = 1
        recipe.keeper.usage[0][5:15] = 0
        old = {key: taken[key].clone() for key in PLACED[name]}
        recipe.after_step(4, generator())
        assert not differing() & PLACED[name]
        moved = [(taken[key] != old[key]).any(dim=1).nonzero().flatten() for key in PLACED[name]]
        assert {tuple(rows.tolist()) for rows in moved} - {()} == {tuple(range(5, 15))}


SIZES = [*NAMES, "meditok"]


@pytest.mark.parametrize("name", SIZES)
def test_a_run_starts_from_weights_as_the_tokenizer_itself_takes_them(name, request, tmp_path):
    make = request.getfixturevalue("small_recipe")
    changes = {"recipe": "meditok"} if name == "meditok" else {}
    name = "unitok-tiny" if name == "meditok" else name
    first = make(name, changes)
    exported = first.export({k: v + 1 for k, v in first.model.state_dict().items()})
    extra = {"loss.logvar": torch.zeros(1)} if name in {"vqgan-tiny", "medvae-tiny"} else {}
    torch.save({"state_dict": {**exported, **extra}}, tmp_path / "last.ckpt")
    second = make(name, {**changes, "start": {"weights": str(tmp_path / "last.ckpt")}})
    begun = second.export(second.model.state_dict())
    assert exported.keys() == begun.keys()
    for key, value in exported.items():
        torch.testing.assert_close(begun[key], value)


def test_weights_of_another_network_are_refused_by_name(small_recipe, tmp_path):
    torch.save({"encoder.weight": torch.zeros(3)}, tmp_path / "other.pt")
    with pytest.raises(UsageError, match="does not fit the network"):
        small_recipe("vqgan-tiny", {"start": {"weights": str(tmp_path / "other.pt")}})


def test_a_batch_that_the_processes_cannot_share_is_refused_before_its_step(
    small_recipe, monkeypatch
):
    monkeypatch.setattr(parallel, "world_size", lambda: 2)
    with pytest.raises(UsageError, match="a batch of 1 cannot be shared evenly by 2"):
        small_recipe("vqgan-tiny")


def test_pumits_spread_is_that_of_the_whole_batch(small_recipe, monkeypatch):
    recipe = small_recipe("pumit-tiny")
    images = next(recipe.batches(0)).images * 2 - 1

    def spread(part: torch.Tensor) -> torch.Tensor:
        found = recipe.trainable.reconstruct(part, quantise=True, generator=generator())
        return found.terms["spread"]

    whole = spread(images)
    means: list[torch.Tensor] = []
    monkeypatch.setattr(parallel, "gather_rows", lambda row: means.append(row) or row)
    for part in images.chunk(2):
        spread(part)
    both = torch.cat(means)
    monkeypatch.setattr(parallel, "gather_rows", lambda _: both)
    for part in images.chunk(2):
        torch.testing.assert_close(spread(part), whole)


def used_codes(recipe: TokenizerRecipe) -> int:
    batches = recipe.batches(20)
    with torch.no_grad():
        images = torch.cat([next(batches).images for _ in range(8)]) * 2 - 1
        found = recipe.trainable.reconstruct(images, quantise=True, generator=generator())
    assert found.indices is not None
    return len(found.indices[:, 0].unique())


def test_codebooks_stay_as_they_start_where_no_batches_are_given_for_kmeans(small_recipe):
    recipe = small_recipe("vqgan-tiny", {"codebooks": {"kmeans_batches": 0}})
    (raw,) = [book.detach().clone() for book in recipe.trainable.books()]
    recipe.before_step(2)
    assert torch.equal(recipe.trainable.books()[0], raw)


@pytest.mark.parametrize(
    ("method", "said"),
    [
        ({}, "method lacks kl_weight"),
        ({"kl_weight": 1.0, "beta": 2}, "method has unknown terms: beta"),
        ([1], "method must hold kl_weight, start, transform_code by name"),
        ({"kl_weight": "1e-6"}, "write 1.0e-3"),
    ],
)
def test_a_method_with_wrong_terms_is_refused(method, said, small_config, tmp_path):
    config = {**small_config("medvae-tiny"), "method": method}
    settings = read_fields(TrainingSettings, config["settings"], "settings")
    with pytest.raises(UsageError, match=said):
        recipe_module("medvae").build(config, settings, tmp_path)


def test_a_state_that_no_method_wrote_is_refused(small_recipe):
    with pytest.raises(UsageError, match="remembers nothing"):
        small_recipe("pumit-tiny").trainable.load_state_dict({"batches": 1})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"settings": {"checkpoint_activations": True}}, "checkpoint_activations: false"),
        (
            {"alignment": {"teacher": {"name": "clip"}, "side": "text", "weight": 1.0}},
            "no contrastive head",
        ),
        ({"adversarial": {"kind": "dino"}}, "dino.*patch"),
        ({"plan": {"crop": 3}}, "unknown terms: plan"),
    ],
)
def test_sections_that_a_network_has_no_part_for_are_refused(change, said, small_recipe):
    with pytest.raises(UsageError, match=said):
        small_recipe("vqgan-tiny", change)

from __future__ import annotations

import runpy
import subprocess
import sys

import pytest
import torch
from torch import Tensor, nn

from medbench.harness.errors import UsageError
from medbench.harness.training import patch_discriminator
from medbench.harness.training.adversarial import AdversarialGame, AdversarialTerms, build_game
from medbench.harness.training.diff_augment import Changes, blurred

BASE = {"kind": "linear", "augment": 0.0, "consistency": 0.0}


class Linear(nn.Module):
    """Logits are weighted sums of an image's pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3 * 8 * 8, 2).double()
        with torch.no_grad():
            self.layer.weight.copy_(noise(2, 192, seed=5))

    def forward(self, images: Tensor, generator: torch.Generator) -> Tensor:
        del generator
        return self.layer(images.double().flatten(1))


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def play(step: int = 10, **terms) -> tuple[Tensor, dict[str, Tensor], Tensor, AdversarialGame]:
    """A reconstruction that is one gain times an image, compared with another image."""
    game = AdversarialGame(Linear(), AdversarialTerms.from_mapping(BASE | terms))
    gain = nn.Parameter(torch.tensor(0.7))
    rec = gain * noise(4, 3, 8, 8, seed=1)
    loss = (rec - noise(4, 3, 8, 8, seed=2)).square().mean()
    term, readings = game.generator_term(rec, loss, gain, step=step, generator=generator())
    return term, readings, gain, game


def slopes() -> tuple[float, float, float]:
    """By hand: -mean D of that reconstruction, its slope in the gain, and that of the error."""
    image, target = noise(4, 3, 8, 8, seed=1).double(), noise(4, 3, 8, 8, seed=2).double()
    layer = Linear().layer
    per_gain = -(image.flatten(1) @ layer.weight.T).mean()
    value = 0.7 * per_gain - layer.bias.mean()
    error = (2 * (0.7 * image - target) * image).mean()
    return value.item(), per_gain.item(), error.item()


def test_the_generators_term_and_its_gradient_are_those_of_minus_the_mean_logit() -> None:
    _, per_gain, error = slopes()
    term, readings, gain, game = play()
    (gradient,) = torch.autograd.grad(term, gain)
    weight = 0.4 * abs(error) / (abs(per_gain) + 1e-6)
    assert 0.4 * 0.015 < weight < 0.4e4
    assert float(readings["adversarial_weight"]) == pytest.approx(weight, rel=1e-4)
    assert float(gradient) == pytest.approx(weight * per_gain, rel=1e-4)
    value = -game.discriminator(0.7 * noise(4, 3, 8, 8, seed=1), generator()).mean()
    assert float(readings["generator"]) == pytest.approx(value.item(), rel=1e-4)
    assert float(term.detach()) == pytest.approx(weight * value.item(), rel=1e-4)


@pytest.mark.parametrize(
    ("adaptive", "root", "wanted"),
    [
        (None, False, lambda ratio: 1.0),
        ((0.0, 1e4), False, lambda ratio: ratio),
        ((0.0, 1e4), True, lambda ratio: ratio**0.5),
        ((100.0, 200.0), False, lambda ratio: 100.0),
        ((0.0, 1e-3), False, lambda ratio: 1e-3),
    ],
)
def test_the_weight_follows_the_ratio_of_the_gradients_within_its_range(
    adaptive, root, wanted
) -> None:
    _, per_gain, error = slopes()
    ratio = abs(error) / (abs(per_gain) + 1e-6)
    _, readings, *_ = play(adaptive=adaptive, adaptive_root=root, weight=2.0)
    expected = 2.0 * wanted(ratio)
    assert float(readings["adversarial_weight"]) == pytest.approx(expected, rel=1e-4)


def test_the_discriminator_gets_no_gradient_from_the_generators_term() -> None:
    term, _, gain, game = play()
    term.backward()
    assert gain.grad is not None
    assert all(each.grad is None for each in game.discriminator.parameters())
    assert all(each.requires_grad for each in game.discriminator.parameters())
    assert game.discriminator.training


def test_the_game_starts_warms_up_and_unblurs_by_its_steps() -> None:
    terms = AdversarialTerms(kind="patch", start_step=100, warmup_steps=40)
    steps = [0, 99, 100, 110, 140, 160, 180, 999]
    assert [terms.strength(step) for step in steps] == [0, 0, 0, 0.25, 1, 1, 1, 1]
    assert [terms.fade(step) for step in steps[2:]] == [1, 0.875, 0.5, 0.25, 0, 0]
    at_once = AdversarialTerms(kind="patch", start_step=3)
    assert [at_once.strength(step) for step in (2, 3)] == [0, 1]
    assert at_once.fade(3) == 0


def test_under_bf16_the_term_stays_in_float32_and_near_its_value() -> None:
    terms = AdversarialTerms(kind="patch", discriminator={"channels": [8]})
    game = build_game(terms, {"patch": patch_discriminator.build}, seed=0)
    gain = nn.Parameter(torch.tensor(0.7))
    found = []
    for enabled in (False, True):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            rec = gain * noise(2, 3, 16, 16, seed=1)
            loss = (rec - noise(2, 3, 16, 16, seed=2)).square().mean()
            given = {"step": 1, "generator": generator()}
            term, readings = game.generator_term(rec, loss, gain, **given)
        assert term.dtype == torch.float32
        (gradient,) = torch.autograd.grad(term, gain)
        found.append(torch.stack([readings["generator"], gradient]))
    torch.testing.assert_close(found[1], found[0], rtol=0.05, atol=1e-3)


def test_before_the_game_there_are_no_terms_and_nothing_is_drawn() -> None:
    source = generator()
    before = source.get_state()
    term, readings, _, game = play(step=9, start_step=10)
    assert (float(term), readings) == (0.0, {})
    images = noise(4, 3, 8, 8)
    assert game.discriminator_terms(images, images, step=9, generator=source) == {}
    assert torch.equal(source.get_state(), before)


@pytest.mark.parametrize("loss", ["hinge", "softplus", "linear"])
def test_the_discriminators_loss_is_its_form_on_both_sides(loss) -> None:
    game = AdversarialGame(Linear(), AdversarialTerms.from_mapping(BASE | {"loss": loss}))
    real, rec = noise(4, 3, 8, 8, seed=1), noise(4, 3, 8, 8, seed=2).requires_grad_()
    found = game.discriminator_terms(real, rec, step=0, generator=generator())
    assert set(found) == {"discriminator"}
    form = {
        "hinge": lambda x: torch.clamp(1 - x, min=0),
        "softplus": lambda x: torch.log1p(torch.exp(-x)),
        "linear": lambda x: -x,
    }[loss]
    judge = game.discriminator.layer
    logits = [judge(each.double().flatten(1)) for each in (real, rec)]
    expected = form(logits[0]).mean() + form(-logits[1]).mean()
    torch.testing.assert_close(found["discriminator"].double(), expected, rtol=1e-5, atol=1e-6)
    found["discriminator"].backward()
    assert rec.grad is None
    assert judge.weight.grad is not None


def test_consistency_compares_two_augmentations_and_teaches_both_judgements() -> None:
    seen = []

    class Spy(Linear):
        def forward(self, images: Tensor, generator: torch.Generator) -> Tensor:
            seen.append(super().forward(images, generator).float())
            seen[-1].retain_grad()
            return seen[-1]

    terms = AdversarialTerms(kind="spy", loss="linear", consistency=3.0, warmup_steps=100)
    real, rec = noise(4, 3, 8, 8, seed=1), noise(4, 3, 8, 8, seed=2)
    game = AdversarialGame(Spy(), terms)
    found = game.discriminator_terms(real, rec, step=10, generator=generator())
    gaps = [(seen[k + 2] - seen[k]).square().mean() for k in (0, 1)]
    assert all(float(gap.detach()) > 0.1 for gap in gaps)
    torch.testing.assert_close(found["consistency"], 3 * (gaps[0] + gaps[1]))
    found["consistency"].backward()
    for k in (0, 1):
        torch.testing.assert_close(seen[k].grad, -seen[k + 2].grad)


def test_the_judged_are_blurred_and_the_strong_are_not() -> None:
    seen = []

    class Spy(Linear):
        def forward(self, images: Tensor, generator: torch.Generator) -> Tensor:
            seen.append(images)
            return super().forward(images, generator)

    terms = AdversarialTerms(kind="spy", augment=0.0, start_step=100, warmup_steps=40)
    real, rec = noise(4, 3, 8, 8, seed=1), noise(4, 3, 8, 8, seed=2).requires_grad_()
    game = AdversarialGame(Spy(), terms)
    game.generator_term(rec, rec.sum(), rec, step=140, generator=generator())
    game.discriminator_terms(real, rec, step=140, generator=generator())
    source = generator()
    draws = [Changes.draw(4, source, probability=p) for p in (0.0, 0.0, 1.0, 1.0)]
    expected = [blurred(rec, 0.5), blurred(real, 0.5), blurred(rec, 0.5)]
    expected += [draws[2].apply(real), draws[3].apply(rec)]
    for ours, theirs in zip(seen, expected, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_a_discriminator_learns_to_tell_noise_from_images() -> None:
    terms = AdversarialTerms(kind="patch", consistency=0.5)
    game = build_game(terms, {"patch": patch_discriminator.build}, seed=0)
    optimiser = torch.optim.AdamW(game.discriminator.parameters(), lr=1e-3, betas=(0.5, 0.9))
    real = torch.linspace(-1, 1, 32).expand(8, 3, 32, 32)
    source, losses = generator(), []
    for step in range(60):
        rec = real + 0.5 * noise(8, 3, 32, 32, seed=step)
        found = game.discriminator_terms(real, rec, step=step, generator=source)
        optimiser.zero_grad()
        torch.stack(list(found.values())).sum().backward()
        optimiser.step()
        losses.append(float(found["discriminator"].detach()))
    assert losses[0] > 1.7
    assert sum(losses[-10:]) / 10 < 0.9


@pytest.mark.parametrize(
    "change",
    [{"weight": -1.0}, {"augment": 1.5}, {"start_step": -1}, {"adaptive": [2.0, 1.0]}],
)
def test_rules_that_cannot_be_played_are_refused(change) -> None:
    with pytest.raises(UsageError, match="adversarial loss|adaptive"):
        AdversarialTerms.from_mapping(BASE | change)


def test_wrong_names_are_refused_with_their_place() -> None:
    with pytest.raises(UsageError, match="adversarial has unknown terms: wight"):
        AdversarialTerms.from_mapping(BASE | {"wight": 1.0})
    with pytest.raises(UsageError, match="adversarial lacks kind"):
        AdversarialTerms.from_mapping({})
    with pytest.raises(UsageError, match="unknown discriminator 'linear'; known: patch"):
        build_game(AdversarialTerms(**BASE), {"patch": patch_discriminator.build}, seed=0)


SCRIPT = """
import sys
import torch
from torch import nn
from medbench.harness.training import parallel, patch_discriminator
from medbench.harness.training.adversarial import AdversarialTerms, build_game

parallel.join()
terms = AdversarialTerms(kind="patch", discriminator={"channels": [8, 8]}, warmup_steps=5)
game = build_game(terms, {"patch": patch_discriminator.build}, seed=0)
source = torch.Generator().manual_seed(0)
images = torch.rand(8, 3, 32, 32, generator=source) * 2 - 1
own = images[parallel.own_rows(8)]
torch.manual_seed(0)
layer = nn.Conv2d(3, 3, 3, padding=1)
rec = layer(own)
loss = (rec - own).square().mean()
term, readings = game.generator_term(rec, loss, layer.weight, step=3, generator=source)
term.backward()
terms = game.discriminator_terms(own, rec, step=3, generator=source)
sum(terms.values()).backward()
scalars = [readings["generator"], *terms.values()]
gradients = [layer.weight.grad, *(each.grad for each in game.discriminator.parameters())]
found = [each.detach().flatten() for each in (*scalars, *gradients)]
parallel.sum_over_processes(found)
found = [each / parallel.world_size() for each in found]
torch.save([readings["adversarial_weight"].reshape(1), *found], f"{sys.argv[1]}/{parallel.rank()}")
"""


@pytest.mark.slow
def test_two_processes_play_as_one_does_with_the_whole_batch(tmp_path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    subprocess.run([*launch, str(script), str(tmp_path / "two")], check=True, timeout=120)
    with torch.random.fork_rng(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["script.py", str(tmp_path / "one")])
        runpy.run_path(str(script))
    alone = torch.load(tmp_path / "one" / "0")
    for rank in ("0", "1"):
        together = torch.load(tmp_path / "two" / rank)
        for ours, theirs in zip(alone, together, strict=True):
            torch.testing.assert_close(theirs, ours, rtol=1e-5, atol=1e-6)

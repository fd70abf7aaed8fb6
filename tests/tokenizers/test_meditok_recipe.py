from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from medbench.harness.errors import UsageError
from medbench.harness.training.codebooks import kmeans
from medbench.harness.training.presets import PRESETS, read_config
from medbench.harness.training.reconstruction import (
    ReconstructionPlan,
    ReconstructionRecipe,
    structure_loss,
)
from medbench.harness.training.settings import TrainingSettings
from medbench.tokenizers.catalogue import TINY_CONFIG
from medbench.tokenizers.meditok_config import MedITokConfig
from medbench.tokenizers.meditok_recipe import build

SETTINGS = TrainingSettings(steps=8, learning_rate=1e-3)


def small_config() -> dict:
    """The shipped preset with everything made small."""
    config = dict(read_config(PRESETS["meditok-tiny"].config))
    sizes = {
        "stem_width": 8,
        "stage_dims": [8, 8, 16],
        "embed_dim": 16,
        "depth": 1,
        "num_heads": 2,
        "decoder_dims": [16, 8, 8],
    }
    variant = {**config["model"]["variant"], **sizes}
    books = {"embed_dim": 16, "vocab_size": 256, "vocab_width": 16, "num_codebooks": 2}
    config["model"] = {**config["model"], **books, "variant": variant}
    config["plan"] = {
        **config["plan"],
        "pools": [{"source": "textures", "count": 4, "seed": 0, "size": 64}],
        "shares": [1.0],
        "crop": 32,
        "batch_size": 8,
        "whole": 64,
        "whole_from": 6,
        "quantise_from": 2,
        "revive_until": 8,
        "revive_every": 1,
    }
    return config


@pytest.fixture
def recipe(tmp_path) -> ReconstructionRecipe:
    return build(small_config(), SETTINGS, tmp_path)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_kmeans_finds_well_separated_directions() -> None:
    centres = torch.nn.functional.normalize(torch.randn(6, 8, generator=generator(1)), dim=1)
    noise = 0.02 * torch.randn(6, 200, 8, generator=generator(2))
    vectors = torch.nn.functional.normalize(centres[:, None] + noise, dim=-1).flatten(0, 1)
    # More centres than groups, so that every group has one whatever the start.
    found = kmeans(vectors, 40, generator(), spherical=True)
    assert torch.allclose(found.norm(dim=1), torch.ones(40), atol=1e-5)
    assert ((centres @ found.T).amax(dim=1) > 0.995).all()


def test_kmeans_with_fewer_vectors_than_centres_repeats_them() -> None:
    vectors = torch.eye(4)
    found = kmeans(vectors, 10, generator(), spherical=True)
    assert found.shape == (10, 4)
    assert ((found @ vectors.T).amax(dim=1) > 0.999).all()


def test_kmeans_quantises_better_than_random_vectors() -> None:
    vectors = torch.nn.functional.normalize(torch.randn(3000, 4, generator=generator()), dim=1)
    found = kmeans(vectors, 64, generator(), spherical=True)
    picked = vectors[torch.randperm(3000, generator=generator())[:64]]
    assert (vectors @ found.T).amax(1).mean() > (vectors @ picked.T).amax(1).mean() + 0.005


def ssim_by_hand(first: np.ndarray, second: np.ndarray) -> float:
    """SSIM of two channels in [-1, 1] over 8x8 windows at stride 4, written out."""
    values = []
    for top in range(0, first.shape[0] - 7, 4):
        for left in range(0, first.shape[1] - 7, 4):
            a = first[top : top + 8, left : left + 8].astype(np.float64)
            b = second[top : top + 8, left : left + 8].astype(np.float64)
            covariance = ((a - a.mean()) * (b - b.mean())).mean()
            c1, c2 = 0.02**2, 0.06**2
            bright = (2 * a.mean() * b.mean() + c1) / (a.mean() ** 2 + b.mean() ** 2 + c1)
            values.append(bright * (2 * covariance + c2) / (a.var() + b.var() + c2))
    return float(np.mean(values))


def test_structure_loss_is_one_minus_ssim_over_three_scales() -> None:
    first = torch.rand(2, 3, 40, 48, generator=generator()) * 2 - 1
    second = 0.7 * first + 0.3 * torch.randn(2, 3, 40, 48, generator=generator(1))
    expected = []
    for scale in (1, 2, 4):
        a, b = (torch.nn.functional.avg_pool2d(x, scale).numpy() for x in (first, second))
        pairs = zip(a.reshape(6, *a.shape[2:]), b.reshape(6, *b.shape[2:]), strict=True)
        expected.append(1 - np.mean([ssim_by_hand(x, y) for x, y in pairs]))
    assert float(structure_loss(first, second)) == pytest.approx(np.mean(expected), abs=1e-4)
    assert float(structure_loss(first, first)) == pytest.approx(0, abs=1e-6)


def test_a_batch_passes_unquantised_first_and_quantised_later(recipe) -> None:
    warm = recipe.losses(0, generator())
    assert "vq" not in warm.terms
    recipe.before_step(2)
    later = recipe.losses(2, generator())
    assert later.terms["vq"] > 0
    assert torch.isfinite(torch.stack(list(later.terms.values()))).all()


def test_colour_counts_from_its_step_on_and_not_in_grey_errors(recipe, monkeypatch) -> None:
    images = torch.rand(2, 3, 32, 32, generator=generator()) - 0.5
    monkeypatch.setattr(recipe, "_images", lambda *_: images)
    recipe.plan = replace(recipe.plan, chroma_from=1)
    terms = {}
    for name, change in (("grey", torch.full_like(images, 0.2)), ("red", torch.zeros_like(images))):
        change[:, 0] = 0.2
        output = replace(recipe.model(images, quantise=False), rec=images + change)
        monkeypatch.setattr(recipe.model, "forward", lambda *_, given=output, **__: given)
        assert recipe.losses(0, generator()).terms["chroma"] == 0
        terms[name] = float(recipe.losses(1, generator()).terms["chroma"])
        monkeypatch.undo()
        monkeypatch.setattr(recipe, "_images", lambda *_: images)
    assert terms["grey"] == pytest.approx(recipe.plan.chroma * np.log(1e-4), rel=1e-3)
    # An error of 0.2 in one channel is 0.2 * (2, -1, -1) / 3 beside its mean.
    expected = recipe.plan.chroma * np.log(0.04 * 6 / 27 + 1e-4)
    assert terms["red"] == pytest.approx(expected, rel=1e-3)


def test_the_last_steps_see_as_many_pixels_in_whole_images(recipe, monkeypatch) -> None:
    sides = []
    forward = recipe.model.forward
    monkeypatch.setattr(
        recipe.model, "forward", lambda x, **k: (sides.append(tuple(x.shape)), forward(x, **k))[1]
    )
    recipe.losses(0, generator())
    recipe.losses(6, generator())
    assert sides == [(8, 3, 32, 32), (2, 3, 64, 64)]


def test_initialised_codebooks_are_used_broadly(recipe) -> None:
    before = used_codes(recipe)
    recipe.before_step(2)
    after = used_codes(recipe)
    assert after > 60
    assert after > before


def used_codes(recipe: ReconstructionRecipe) -> float:
    """Codes per book (of 128) that 1,024 crops of the recipe's own data use."""
    with torch.no_grad():
        images = recipe._source.batch(256, 32, generator(9)) * 2 - 1
        indices = recipe.model.encode_indices(images)
    return float(np.mean([len(book.unique()) for book in indices.transpose(0, 1)]))


def test_dead_codes_restart_at_encoder_outputs_and_live_ones_stay(recipe) -> None:
    recipe.before_step(2)
    recipe.losses(2, generator())
    recipe.losses(3, generator())
    assert recipe.keeper is not None
    before = [b.codebook.weight.detach().clone() for b in recipe.model.quantizer.books]
    usage = [share.clone() for share in recipe.keeper.usage]
    recipe.after_step(3, generator())
    for book, old, used in zip(recipe.model.quantizer.books, before, usage, strict=True):
        changed = (book.codebook.weight.detach() != old).any(dim=1)
        assert 0 < changed.sum() <= (used == 0).sum()
        assert not changed[used > 0].any()
        assert torch.allclose(book.codebook.weight[changed].norm(dim=1), torch.ones(()), atol=1e-5)


def test_the_shipped_plan_is_complete_and_its_phases_are_in_order() -> None:
    config = read_config(PRESETS["meditok-tiny"].config)
    plan = ReconstructionPlan.from_mapping(config["plan"])
    steps = config["settings"]["steps"]
    assert 0 < plan.quantise_from < plan.revive_until < plan.whole_from < steps


@pytest.mark.parametrize("change", [{"crops": 3}, {"shares": 5}])
def test_a_plan_with_wrong_fields_is_refused(change) -> None:
    with pytest.raises(UsageError, match="training plan"):
        ReconstructionPlan.from_mapping({**small_config()["plan"], **change})


RUNNER = """
import sys
from pathlib import Path
import yaml
from medbench.harness.training import cli
config = yaml.safe_load(Path(sys.argv[1]).read_text())
settings = cli.read_settings(config["settings"])
recipe = "medbench.tokenizers.meditok_recipe:build"
cli.run(recipe, config, settings, Path(sys.argv[2]), resume=True)
"""


@pytest.mark.slow
def test_a_run_that_is_killed_again_and_again_ends_with_the_same_weights(tmp_path) -> None:
    config = small_config()
    config["settings"] = {
        "steps": 120,
        "learning_rate": 1e-3,
        "ema_decay": 0.9,
        "checkpoint_seconds": 0.05,
        "threads": 1,
    }
    path, script = tmp_path / "config.yaml", tmp_path / "run.py"
    path.write_text(yaml.safe_dump(config))
    script.write_text(RUNNER)

    def command(place: str) -> list[str]:
        return [sys.executable, str(script), str(path), str(tmp_path / place)]

    subprocess.run(command("whole"), check=True)
    moments = np.random.default_rng(0).uniform(0, 1.5, 4)
    for moment in moments:
        process = subprocess.Popen(command("broken"))
        wait_for_checkpoint(tmp_path / "broken")
        time.sleep(float(moment))
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    subprocess.run(command("broken"), check=True)
    weights = [(tmp_path / p / "weights.safetensors").read_bytes() for p in ("whole", "broken")]
    assert weights[0] == weights[1]


def wait_for_checkpoint(place: Path) -> None:
    for _ in range(1200):
        if (place / "checkpoints" / "latest.json").exists():
            return
        time.sleep(0.05)
    pytest.fail("no checkpoint appeared within a minute")


def test_what_is_trained_is_the_network_that_the_catalogue_ships() -> None:
    config = read_config(PRESETS["meditok-tiny"].config)
    assert MedITokConfig.from_mapping(config["model"]) == MedITokConfig.from_mapping(TINY_CONFIG)

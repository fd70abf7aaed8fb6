from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from medbench.harness.errors import UsageError
from medbench.harness.training.config_terms import read_fields
from medbench.harness.training.presets import presets
from medbench.harness.training.settings import TrainingSettings
from medbench.harness.training.tokenizer_recipe import TokenizerRecipe
from medbench.harness.training.tokenizer_terms import TokenizerTerms, sections
from medbench.tokenizers.catalogue import TINY_CONFIG
from medbench.tokenizers.meditok_config import MedITokConfig
from medbench.tokenizers.meditok_model import MedITokModel
from medbench.tokenizers.meditok_recipe import build

DATA: dict[str, Any] = {"source": {}, "batch_size": 2, "side": 32}
SETTINGS: dict[str, Any] = {"steps": 8, "optimiser": {"learning_rate": 1e-3}}


def stage_of(preset: str, name: str) -> dict[str, Any]:
    return next(dict(s.config) for s in presets()[preset].stages() if s.name == name)


def small_config() -> dict[str, Any]:
    """The first stage of the shipped preset, without a teacher and with everything made small."""
    config = stage_of("tiny", "stage1")
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
    source = {
        "kind": "pools",
        "pools": [{"source": "textures", "count": 4, "seed": 0, "size": 64}],
        "shares": [1.0],
        "augmentation": {
            "natural_scale": 0.5,
            "zoom": [0.5, 1.6],
            **dict.fromkeys(("blend", "grey", "duotone", "invert"), 0.1),
            **dict.fromkeys(("shift", "gamma", "contrast"), 0.4),
        },
    }
    return {
        "recipe": "meditok",
        "model": {**config["model"], **books, "variant": variant},
        "settings": SETTINGS,
        "data": {
            "source": source,
            "side": 32,
            "batch_size": 8,
            "whole_side": 64,
            "whole_from": 6,
            "whole_batch": 2,
        },
        "codebooks": {
            "quantise_from": 2,
            "kmeans_batches": 32,
            "revive_until": 8,
            "revive_every": 1,
        },
        "pixels": config["pixels"],
    }


def make(tmp_path: Path, **change: Any) -> TokenizerRecipe:
    config = {**small_config(), **change}
    settings = read_fields(TrainingSettings, config["settings"], "settings")
    return build(config, settings, tmp_path)


@pytest.fixture
def recipe(tmp_path) -> TokenizerRecipe:
    return make(tmp_path)


def network(recipe: TokenizerRecipe) -> MedITokModel:
    core = recipe.trainable.network
    assert isinstance(core, MedITokModel)
    return core


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def losses(recipe: TokenizerRecipe, step: int):
    return recipe.losses(step, next(recipe.batches(step)), generator())


def test_a_batch_passes_unquantised_first_and_quantised_later(recipe) -> None:
    warm = losses(recipe, 0)
    assert "vq" not in warm.terms
    assert "live_codes" not in warm.readings
    recipe.before_step(2)
    later = losses(recipe, 2)
    assert later.terms["vq"] > 0
    assert 0 < later.readings["live_codes"] <= 1
    assert torch.isfinite(torch.stack(list(later.terms.values()))).all()


def test_the_psnr_of_the_curve_is_that_of_the_pass(recipe) -> None:
    batch = next(recipe.batches(0))
    found = recipe.losses(0, batch, generator()).readings["psnr"]
    recipe.model.eval()
    with torch.no_grad():
        rec = recipe.trainable.reconstruct(
            batch.images * 2 - 1, quantise=False, generator=generator()
        ).images
    squared = ((rec + 1) / 2 - batch.images).square().flatten(1).mean(dim=1)
    torch.testing.assert_close(found, (-10 * squared.log10()).mean(), rtol=1e-3, atol=1e-3)


def test_the_entropy_term_appears_with_its_weight(tmp_path) -> None:
    models = [{**small_config()["model"], "le": le, "e_temp": 0.01} for le in (0.5, 1.0)]
    terms = [losses(make(tmp_path, model=model), 3).terms for model in models]
    torch.testing.assert_close(terms[1]["entropy"], 2 * terms[0]["entropy"])
    torch.testing.assert_close(terms[1]["vq"], terms[0]["vq"])
    assert "entropy" not in losses(make(tmp_path), 3).terms


def test_the_last_steps_see_whole_images(recipe) -> None:
    shapes = [tuple(next(recipe.batches(step)).images.shape) for step in (0, 5, 6)]
    assert shapes == [(8, 3, 32, 32), (8, 3, 32, 32), (2, 3, 64, 64)]


def test_the_shipped_phases_of_both_stages_are_in_order() -> None:
    for name in ("stage1", "stage2"):
        config = stage_of("tiny", name)
        terms = read_fields(TokenizerTerms, sections(config), name)
        books, whole = terms.codebooks, terms.data.whole_from
        assert whole is not None
        assert books.quantise_from < books.revive_until < whole < config["settings"]["steps"]
        assert (books.kmeans_batches > 0) is (name == "stage1")


def test_initialised_codebooks_are_used_broadly(recipe) -> None:
    before = used_codes(recipe)
    recipe.before_step(2)
    after = used_codes(recipe)
    assert after > 60
    assert after > before


def used_codes(recipe: TokenizerRecipe) -> float:
    """Codes per book (of 128) that 1,024 cells of the recipe's own data use."""
    drawn = [recipe._source.sample(place, 32).image for place in range(256)]
    with torch.no_grad():
        indices = network(recipe).encode_indices(torch.stack(drawn) * 2 - 1)
    return float(np.mean([len(book.unique()) for book in indices.transpose(0, 1)]))


def test_dead_codes_restart_at_encoder_outputs_and_live_ones_stay(recipe) -> None:
    recipe.before_step(2)
    losses(recipe, 2)
    losses(recipe, 3)
    assert recipe.keeper is not None
    books = recipe.trainable.books()
    before = [book.detach().clone() for book in books]
    usage = [share.clone() for share in recipe.keeper.usage]
    recipe.after_step(3, generator())
    for book, old, used in zip(books, before, usage, strict=True):
        changed = (book.detach() != old).any(dim=1)
        assert 0 < changed.sum() <= (used == 0).sum()
        assert not changed[used > 0].any()
        assert torch.allclose(book[changed].norm(dim=1), torch.ones(()), atol=1e-5)


def test_what_is_exported_are_the_networks_keys(recipe) -> None:
    exported = recipe.export(recipe.model.state_dict())
    assert list(exported) == list(network(recipe).state_dict())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"data": {"crops": 3}}, "data has unknown terms: crops"),
        ({"data": {"batch_size": 3, "side": 32}}, "data lacks source"),
        ({"plan": {}}, "unknown terms: plan"),
        ({"pixels": {"l3": 1.0}}, "pixels has unknown terms: l3"),
        ({"start": {}}, "start must name either an earlier `stage` or a `weights` file"),
        ({"start": {"stage": "a", "weights": "b"}}, "start must name either"),
        ({"start": {"stage": "earlier"}}, "starts from earlier, but .* holds no checkpoint"),
        ({"adversarial": {"kind": "spectral"}}, "spectral"),
        ({"codebooks": {"revive_every": 0}}, "codebooks: revive_every must be at least 1, not 0"),
        ({"codebooks": {"quantise_from": -1}}, "quantise_from must be at least 0, not -1"),
        ({"data": {**DATA, "batch_size": 0}}, "data: batch_size must be at least 1, not 0"),
        ({"data": {**DATA, "side": 0}}, "data: side must be at least 1, not 0"),
        ({"data": {**DATA, "whole_from": -2}}, "data: whole_from must be at least 0, not -2"),
        ({"data": {**DATA, "whole_batch": 0}}, "data: whole_batch must be at least 1, not 0"),
        ({"validation": {"source": {}, "images": 0}}, "validation: images must be at least 1, not"),
        ({"pixels": {"l1": -1.0}}, r"pixels: l1 must be at least 0, not -1\.0"),
    ],
)
def test_a_configuration_with_wrong_sections_is_refused(change, said, tmp_path) -> None:
    with pytest.raises(UsageError, match=said):
        make(tmp_path, **change)


def test_a_stage_can_start_from_exported_weights(recipe, tmp_path) -> None:
    path = tmp_path / "weights.pt"
    weights = {k: v + 0.5 for k, v in network(recipe).state_dict().items()}
    # As upstream's trainer leaves them: the text side is no part of the network.
    torch.save({**weights, "text_projection.weight": torch.zeros(3)}, path)
    other = make(tmp_path, start={"weights": str(path)})
    assert all(map(torch.equal, weights.values(), network(other).state_dict().values()))


def test_recomputed_activations_change_no_gradient(recipe, tmp_path) -> None:
    frugal = make(tmp_path, settings={**SETTINGS, "checkpoint_activations": True})
    for each in (recipe, frugal):
        torch.stack(list(losses(each, 0).terms.values())).sum().backward()
    for ours, other in zip(recipe.model.parameters(), frugal.model.parameters(), strict=True):
        assert (ours.grad is None) == (other.grad is None)
        if ours.grad is not None:
            torch.testing.assert_close(ours.grad, other.grad)


RUNNER = """
import sys
from pathlib import Path
from medbench.harness.training.run import train
from medbench.harness.training.run_plan import read_stages
train(read_stages(Path(sys.argv[1])), Path(sys.argv[2]), resume=True)
"""


@pytest.mark.slow
def test_a_run_that_is_killed_again_and_again_ends_with_the_same_weights(tmp_path) -> None:
    config = small_config()
    config["settings"] = {
        "steps": 120,
        "optimiser": {"learning_rate": 1e-3},
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
    for stage in ("stage1", "stage2"):
        config = stage_of("tiny", stage)
        assert MedITokConfig.from_mapping(config["model"]) == MedITokConfig.from_mapping(
            TINY_CONFIG
        )

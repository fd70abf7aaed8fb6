from __future__ import annotations

import itertools
import os
import signal
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from medbench.harness.errors import UsageError
from medbench.harness.training.loop import Interrupted, Trainer
from medbench.tasks.vqa import outline as outlining
from medbench.tasks.vqa.answering import Prompt, answer
from medbench.tasks.vqa.collate import Segment
from medbench.tasks.vqa.language import merged, small_language, with_lora
from medbench.tasks.vqa.model import AnsweringModel, Projector, Scale
from medbench.tasks.vqa.presets import PRESETS, LoraTerms, StageTerms
from medbench.tasks.vqa.prompt import find_template
from medbench.tasks.vqa.recipe import AnswerRecipe, load_trained
from medbench.tasks.vqa.saved import load_model, save_model
from medbench.tasks.vqa.saved_files import ModelFacts
from medbench.tasks.vqa.stages import StageKey, settings_of, train_stage
from medbench.tasks.vqa.talks import Talk, Unit, units_of

from .conftest import FEATURES, TERMS

VICUNA = find_template("vicuna_v1")
STAGE = StageTerms("all", batch=2, rate=1e-3, steps=6)


@pytest.fixture
def tokens():
    return np.random.default_rng(0).normal(size=(3, 4, FEATURES)).astype(np.float16)


def units(language, template):
    pairs = [("Is this CT?", "yes"), ("Which organ is shown?", "lung"), ("Is this MRI?", "no")]
    return [
        Unit(
            place,
            (),
            (Segment(language.ids(template.ask(q)), (*language.ids(a), language.end)),),
        )
        for place, (q, a) in enumerate(pairs)
    ]


def fresh(vocabulary):
    language = small_language(TERMS, vocabulary, seed=0)
    return AnsweringModel(language, Projector(FEATURES, language.hidden))


def recipe_of(model, tokens, template=VICUNA, **options):
    language = model.language
    before = [language.begin, *language.ids(template.before)]
    given = options.pop("units", None) or units(language, template)
    defaults = {"before": before, "batch": 2, "questions": 1, "seed": 0}
    return AnswerRecipe(model, given, tokens, **(defaults | options))


def test_a_stopped_stage_goes_on_and_ends_with_the_same_weights(
    vocabulary, tokens, tmp_path, monkeypatch
):
    found = []
    for stopped in (False, True):
        monkeypatch.setenv("MEDBENCH_CACHE", str(tmp_path / str(stopped)))
        model = fresh(vocabulary)
        recipe = recipe_of(model, tokens)
        key = StageKey("tuning", {"test": 1})
        if stopped:
            own = recipe.losses

            def stop_at_three(step, batch, generator, own=own):
                if step == 3:
                    os.kill(os.getpid(), signal.SIGTERM)
                return own(step, batch, generator)

            monkeypatch.setattr(recipe, "losses", stop_at_three)
            with pytest.raises(Interrupted):
                train_stage(key, recipe, STAGE, seed=0, device="cpu")
            model = fresh(vocabulary)
            recipe = recipe_of(model, tokens)
        train_stage(key, recipe, STAGE, seed=0, device="cpu")
        found.append({name: value.clone() for name, value in model.state_dict().items()})
    for name, value in found[0].items():
        assert torch.equal(value, found[1][name]), name


def test_a_finished_stage_is_read_and_not_trained_again(vocabulary, tokens, tmp_path, monkeypatch):
    monkeypatch.setenv("MEDBENCH_CACHE", str(tmp_path))
    key = StageKey("tuning", {"test": 2})
    first, second = fresh(vocabulary), fresh(vocabulary)
    train_stage(key, recipe_of(first, tokens), STAGE, seed=0, device="cpu")
    monkeypatch.setattr(Trainer, "run", None)
    train_stage(key, recipe_of(second, tokens), STAGE, seed=0, device="cpu")
    for name, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[name])
    assert not (key.folder / "checkpoints").exists()


def test_stage_one_trains_the_projector_alone(vocabulary, tokens, tmp_path, monkeypatch):
    monkeypatch.setenv("MEDBENCH_CACHE", str(tmp_path))
    model = fresh(vocabulary)
    model.language.model.requires_grad_(False)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    key = StageKey("projector", {})
    train_stage(key, recipe_of(model, tokens), STAGE, seed=0, device="cpu")
    changed = {n for n, v in model.state_dict().items() if not torch.equal(v, before[n])}
    assert changed == {f"projector.{layer}.{part}" for layer in "02" for part in ("weight", "bias")}
    assert set(load_file(key.folder / "trained.safetensors")) == changed


def test_the_papers_path_steps_answers_saves_resumes_and_merges(vocabulary, tokens, tmp_path):
    pytest.importorskip("peft")
    terms = PRESETS["paper"].tuning
    small = replace(terms, batch=2, epochs=0, steps=2, precision="fp32")
    lora = LoraTerms(rank=4, alpha=8, dropout=0.05)

    def adapted():
        model = fresh(vocabulary)
        language = with_lora(model.language, lora, seed=1)
        model = AnsweringModel(language, model.projector)
        scale = terms.projector_rate / terms.rate
        return model, recipe_of(model, tokens, projector_scale=scale)

    model, recipe = adapted()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    settings = replace(settings_of(small, 3, seed=0), checkpoint_seconds=0.0)
    trainer = Trainer(recipe, settings, tmp_path / "run", config={"a": 1})
    weights = trainer.run()
    # What is kept are adapters and projector; the language model's own weights are untouched.
    assert all("lora_" in name or name.startswith("projector/") for name in weights)
    changed = {n for n, v in model.state_dict().items() if not torch.equal(v, before[n])}
    assert changed
    assert {n for n in changed if "lora_" not in n and not n.startswith("projector.")} == set()
    rates = {
        g.get("rate_scale", 1.0) * settings.optimiser.learning_rate
        for g in trainer.engine.optimiser.param_groups
    }
    assert sorted(rates) == pytest.approx([2e-5, 2e-4])

    other, resumed = adapted()
    again = Trainer(resumed, settings, tmp_path / "run", config={"a": 1})
    assert again.resume()
    assert again.step == 2
    for name, value in model.state_dict().items():
        assert torch.equal(value, other.state_dict()[name])

    prompts = [Prompt("q", "Is this CT?", tokens[0])]
    with_adapters = answer(model.eval(), prompts, VICUNA, new_tokens=4)
    whole = merged(model.language)
    assert not any("lora_" in name for name, _ in whole.model.named_parameters())
    plain = AnsweringModel(whole, model.projector).eval()
    assert answer(plain, prompts, VICUNA, new_tokens=4) == with_adapters
    load_trained(adapted()[0], recipe.export(weights))


@pytest.mark.filterwarnings("error::FutureWarning")
def test_the_papers_prompt_rates_and_adapters_are_the_published_ones(monkeypatch):
    pytest.importorskip("peft")
    monkeypatch.setattr(outlining, "MISTRAL_7B", TERMS)
    paper = PRESETS["paper"]
    stage1 = outlining.rate_groups(paper, paper.projector, features=1024)
    assert {(g.what, g.rate) for g in stage1} == {("projector", 1e-3)}
    assert sum(g.parameters for g in stage1) == 1024 * 32 + 32 + 32 * 32 + 32
    stage2 = outlining.rate_groups(paper, paper.tuning, features=1024)
    rates = {g.what: g.rate for g in stage2}
    assert rates == {"adapters": 2e-4, "projector": pytest.approx(2e-5)}
    h, kv, mlp, rank = 32, 16, 48, 128
    sizes = [(h, h), (h, kv), (h, kv), (h, h), (h, mlp), (h, mlp), (mlp, h)]
    expected = TERMS.layers * sum(rank * (a + b) for a, b in sizes)
    assert next(g.parameters for g in stage2 if g.what == "adapters") == expected
    text = outlining.outline(paper)
    assert "1 epochs of 555,103 as published (2,168 steps), batch 256" in text
    assert "2 epochs of 100,000 as published (780 steps), batch 256" in text
    # Whatever the tokenizer: the two layers' own numbers, and a row of weights for each input.
    assert f"projector: {32 + 32 * 32 + 32:,} parameters and 32 for each number" in text
    assert "'<image>', then it, ended by '\\n'" in text
    for terms in (paper.projector, paper.tuning):
        # 32 on each of eight devices, with recomputed activations; warm-up and decay are stated.
        assert (terms.batch, terms.warmup, terms.recompute) == (256, 0.03, True)
        settings = settings_of(terms, 256, seed=0)
        assert settings.checkpoint_activations
        assert settings.batches_per_step * terms.pass_units == 256
        assert settings.optimiser.weight_decay == 0
    assert "rank 128, alpha 256" in text
    assert VICUNA.before + "<image>" + VICUNA.ask("What is it?") == (
        "A chat between a curious user and an artificial intelligence assistant. The assistant "
        "gives helpful, detailed, and polite answers to the user's questions. USER: <image>\n"
        "What is it? ASSISTANT:"
    )


def test_the_papers_captions_are_learnt_without_a_conversation(vocabulary):
    language = small_language(TERMS, vocabulary, seed=0)
    talks = [Talk(0, "Axial CT of the chest.", [("Is this CT?", "yes")])]
    (unit,) = units_of(talks, language, VICUNA, "captions", each=False)
    (segment,) = unit.segments
    assert list(segment.asked) == []
    assert list(segment.answer) == language.ids("Axial CT of the chest.\n")
    assert VICUNA.before_caption == ""


def test_a_batch_in_parts_with_recomputed_activations_trains_the_same(
    vocabulary, tokens, tmp_path, monkeypatch
):
    monkeypatch.setenv("MEDBENCH_CACHE", str(tmp_path))
    found = []
    for options in ({}, {"pass_units": 1, "recompute": True}):
        model = fresh(vocabulary)
        recipe = recipe_of(model, tokens, units=[units(model.language, VICUNA)[0]] * 3)
        terms = replace(STAGE, steps=2, **options)
        train_stage(StageKey("tuning", options), recipe, terms, seed=0, device="cpu")
        (batch,) = itertools.islice(recipe.batches(0), 1)
        recomputes = any(getattr(m, "gradient_checkpointing", False) for m in model.modules())
        assert (batch.images, recomputes) == ((1, True) if options else (2, False))
        found.append(model.state_dict())
    for name, value in found[0].items():
        torch.testing.assert_close(value, found[1][name], rtol=1e-3, atol=1e-5)


FACTS = ModelFacts("short", side=2, new_tokens=4, tokenizer="meditok@tiny")


def test_a_saved_model_answers_as_before(vocabulary, tokens, tmp_path):
    model = fresh(vocabulary)
    scale = Scale(torch.full((FEATURES,), 0.5), torch.full((FEATURES,), 2.0))
    model = AnsweringModel(model.language, model.projector, scale).eval()
    save_model(tmp_path, model, FACTS)
    found = load_model(tmp_path)
    assert found.facts == FACTS
    prompts = [Prompt("q", "Is this CT?", tokens[0])]
    template = find_template("short")
    assert answer(found.model, prompts, template, new_tokens=4) == answer(
        model, prompts, template, new_tokens=4
    )


@pytest.mark.parametrize("adapted", ["", "base_model.model."])
def test_a_folder_in_llavas_layout_is_read_and_marked_unverified(vocabulary, tmp_path, adapted):
    model = fresh(vocabulary)
    save_model(tmp_path, model, FACTS)
    (tmp_path / "vqa.json").unlink()
    (tmp_path / "projector.safetensors").unlink()
    weights = model.projector.state_dict()
    projector = {f"{adapted}model.mm_projector.{k}": v for k, v in weights.items()}
    torch.save(projector, tmp_path / "non_lora.bin")
    found = load_model(tmp_path)
    assert not found.facts.verified
    assert found.facts.template == "vicuna_v1"
    for name, value in model.state_dict().items():
        torch.testing.assert_close(found.model.state_dict()[name], value)


def test_models_that_do_not_fit_are_refused(vocabulary, tmp_path):
    with pytest.raises(UsageError, match=r"no config\.json"):
        load_model(tmp_path)
    model = fresh(vocabulary)
    save_model(tmp_path, AnsweringModel(model.language, Projector(FEATURES, 32)), FACTS)
    other = Projector(FEATURES, 24)
    from safetensors.torch import save_file

    save_file(other.state_dict(), tmp_path / "projector.safetensors")
    with pytest.raises(UsageError, match=r"projector\.safetensors: damaged"):
        load_model(tmp_path)
    (tmp_path / "projector.safetensors.sha256").unlink()
    with pytest.raises(UsageError, match="24 numbers a token, and the language model reads 32"):
        load_model(tmp_path)
    (tmp_path / "projector.safetensors").write_bytes(b"cut off")
    with pytest.raises(UsageError, match=r"projector\.safetensors cannot be read"):
        load_model(tmp_path)

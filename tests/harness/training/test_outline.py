"""A dry run of the published training shows the published numbers."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import pytest

from medbench.harness.errors import UsageError
from medbench.harness.training.outline import outline
from medbench.harness.training.presets import presets
from medbench.harness.training.run_plan import Stage

GOLDEN = Path(__file__).parents[2] / "golden"


@pytest.fixture(scope="module")
def shown() -> dict[str, str]:
    return outlines("paper")


def outlines(preset: str) -> dict[str, str]:
    stages = presets()[preset].stages()
    return {stage.name: outline(stage, stages[:k]) for k, stage in enumerate(stages)}


def line(text: str, start: str) -> str:
    (found,) = [each.strip() for each in text.splitlines() if each.strip().startswith(start)]
    return found


def test_the_network_has_the_parameters_of_the_published_file(shown, layout) -> None:
    total = int(line(shown["stage1"], "network:").split()[1].replace(",", ""))
    buffers = ("vocab_usage", "zero_k_bias")
    shapes = layout("meditok_simple_v1")
    values = {key: math.prod(shape) for key, shape in shapes.items()}
    assert round(sum(values.values()) / 1e6, 2) == 696.68
    assert total == sum(n for key, n in values.items() if not key.endswith(buffers))


def test_lengths_are_three_and_two_epochs_of_whole_steps(shown) -> None:
    assert "195,702 steps of 512 images (3 epochs of 33,400,000 images)" in shown["stage1"]
    assert 195_702 == 3 * (33_400_000 // 512)
    assert "9,374 steps of 512 images (2 epochs of 2,400,000 images)" in shown["stage2"]
    assert 9_374 == 2 * (2_400_000 // 512)
    assert "starts from" not in shown["stage1"]
    assert "starts from stage stage1" in shown["stage2"]


@pytest.mark.parametrize("stage", ["stage1", "stage2"])
def test_optimisers_are_those_of_the_trainer(shown, stage) -> None:
    model = line(shown[stage], "optimiser:")
    assert "learning rate 0.0005, betas (0.9, 0.95), weight decay 0.02, epsilon 1e-06" in model
    judge = line(shown[stage], "discriminator's optimiser:")
    assert "learning rate 2e-05, betas (0.5, 0.9), weight decay 0.2, epsilon 1e-06" in judge
    assert "gradient norm at most 10" in model
    assert "gradient norm at most 10" in judge
    assert "precision bf16" in shown[stage]


@pytest.mark.parametrize(("stage", "per_epoch"), [("stage1", 65_234), ("stage2", 4_687)])
def test_rates_rise_from_zero_over_their_warm_up_and_fall_to_a_tenth(
    shown, stage, per_epoch
) -> None:
    lines = [s.strip() for s in shown[stage].splitlines() if "learning rate by step" in s]
    for text, peak, warm_up in zip(lines, (5e-4, 2e-5), (0.01, 0.03), strict=True):
        rates = [each.split(": ") for each in text.split("by step: ")[1].split(", ")]
        steps = [int(step.replace(",", "")) for step, _ in rates]
        values = [float(rate) for _, rate in rates]
        assert steps[:2] == [0, round(warm_up * per_epoch)]
        assert values[:2] == [0, peak]
        assert values[-1] == pytest.approx(0.1 * peak)
        # Halfway down half a cosine is the mean of both ends.
        assert values[3] == pytest.approx(0.55 * peak, rel=1e-2)


@pytest.mark.parametrize(
    ("stage", "side", "weight"), [("stage1", "vision", 0.1), ("stage2", "text", 1.0)]
)
def test_losses_have_the_published_weights(shown, stage, side, weight) -> None:
    text = shown[stage]
    assert line(text, "pixels:").startswith(
        "pixels: l1 0.2, l2 1.0, log_l2 0.0, coarse 0.0, chroma 0.0"
    )
    assert line(text, "pixels:").endswith("structure 0.0")
    assert "kind lpips-vgg, weight 1.0" in line(text, "perceptual:")
    judge = line(text, "adversarial:")
    for said in (
        "kind dino",
        "weight 0.4",
        "loss hinge",
        "adaptive (0.015, 10000.0)",
        "adaptive_root False",
        "start_step 0",
        "consistency 4.0",
        "augment 1.0",
    ):
        assert said in judge
    per_epoch = {"stage1": 65_234, "stage2": 4_687}[stage]
    assert f"warmup_steps {round(0.03 * per_epoch)}" in judge
    teacher = line(text, "alignment:")
    assert f"biomedclip, frozen True), side {side}, weight {weight}, objective contrast" in teacher
    assert "head linear, image_head projection" in teacher
    assert line(text, "quantiser:") == "quantiser: weight 1, vq_beta 0.25, le 0.0, e_temp 0.01"


NORM = {"stage1": 2 * 768, "stage2": 2 * 512}
PROJECTION = {"stage1": 768 * 768 + 768, "stage2": 512 * 768 + 768}


@pytest.mark.parametrize("stage", ["stage1", "stage2"])
def test_the_heads_of_the_alignment_have_the_published_sizes(shown, stage) -> None:
    norm, projection = NORM[stage], PROJECTION[stage]
    assert line(shown[stage], "alignment heads:") == (
        f"alignment heads: {norm + projection:,} parameters in 4 tensors: text_fc_norm {norm:,}, "
        f"text_projection {projection:,}"
    )


@pytest.mark.parametrize("stage", ["stage1", "stage2"])
def test_the_optimisers_groups_hold_the_network_and_the_heads(shown, stage) -> None:
    text = shown[stage].partition("discriminator's heads")[0]
    network = numbers(line(text, "network:"))[0]
    heads = numbers(line(text, "alignment heads:"))[0]
    decayed, free = (numbers(line(text, f"weight decay {each}:"))[-2] for each in ("0.02", "0"))
    frozen = 1024  # a bias that stays 0
    assert decayed + free == network + heads - frozen
    assert free == 1_020_676 + NORM[stage] + 768


@pytest.mark.parametrize(("stage", "per_epoch"), [("stage1", 65_234), ("stage2", 4_687)])
def test_the_discriminators_heads_are_those_of_the_golden_file(shown, stage, per_epoch) -> None:
    golden = json.loads((GOLDEN / "disc_heads_gn.json").read_text())
    heads, dim = golden["config"]["heads"], golden["config"]["dim"]
    assert heads * head_size(dim) == golden["n_params"]
    head = head_size(384)
    text = "discriminator's heads" + shown[stage].partition("discriminator's heads")[2]
    weight = f"from step 0, weight 0.4, risen over {0.03 * per_epoch:,.0f} steps"
    assert line(text, "discriminator's heads") == (
        f"discriminator's heads (dino): {5 * head:,} parameters in 50 tensors; {weight}"
    )
    kernels = 5 * (384**2 + 9 * 384**2 + 384)
    assert numbers(line(text, "weight decay 0.2:"))[-2:] == [kernels, 15]
    assert numbers(line(text, "weight decay 0:"))[-2:] == [5 * head - kernels, 35]


def head_size(dim: int) -> int:
    """A convolution, one of kernel 9, the norm of each, and one to a single logit."""
    return (dim**2 + dim) + (9 * dim**2 + dim) + 2 * 2 * dim + (dim + 1)


def numbers(text: str) -> list[int]:
    return [int(each.replace(",", "")) for each in re.findall(r"(?<![\d.])\d[\d,]*(?![\d.])", text)]


def test_a_teacher_that_is_trained_along_is_counted() -> None:
    text = outlines("paper/s1-viii")["stage2"]
    assert "text_encoder 109,710,848" in line(text, "alignment heads:")


def test_a_teacher_of_the_run_itself_tells_the_heads_size() -> None:
    text = outlines("smoke")["stage1"]
    heads = line(text, "alignment heads:")
    assert "text_fc_norm 256, text_projection" in heads  # of the tower's last 128 channels
    trained = outlines("claims")["text-trained"]
    assert "text_encoder" in line(trained, "alignment heads:")
    assert "its vocabulary" in trained


def test_a_teacher_whose_own_files_tell_its_size_is_not_guessed() -> None:
    (first, _) = presets()["paper"].stages()
    teacher = {**first.config["alignment"], "teacher": {"name": "open_clip:OWNER/REPOSITORY"}}
    text = outline(Stage("stage1", {**first.config, "alignment": teacher}))
    assert "their size follows from the teacher's files" in line(text, "alignment heads:")


def test_norms_biases_and_the_temperature_are_in_the_group_without_decay(shown) -> None:
    trained = shown["stage1"].partition("discriminator's heads")[0]
    sizes = {
        decay: int(size.replace(",", ""))
        for decay, size in re.findall(r"weight decay ([\d.]+): ([\d,]+) parameters", trained)
    }
    assert set(sizes) == {"0.02", "0"}
    assert sizes["0"] < 0.002 * sizes["0.02"]


OF_ITS_OWN = [n for n in presets() if "/" not in n and n not in {"paper", "script"}]


@pytest.mark.parametrize("name", [*OF_ITS_OWN, "paper/s1-i", "paper/s1-v"])
def test_every_preset_with_a_network_or_stages_of_its_own_has_an_outline(name) -> None:
    for stage in presets()[name].stages():
        text = outline(stage)
        assert f"{stage.name}: recipe {stage.recipe}" in text
        assert "learning rate by step: 0: " in text


def test_a_stage_without_steps_or_with_an_unknown_section_is_refused() -> None:
    (first, _) = presets()["paper"].stages()
    for change, said in (
        ({"settings": {}}, r"stage1\.settings lacks optimiser, steps"),
        ({"plan": {}}, "unknown terms: plan"),
        ({"pixels": None}, "pixels"),
    ):
        with pytest.raises(UsageError, match=said):
            outline(Stage("stage1", {**first.config, **change}))

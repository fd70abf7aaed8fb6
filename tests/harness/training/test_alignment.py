from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from open_clip.loss import ClipLoss
from safetensors.torch import load_file
from torch import Tensor, nn

from medbench.harness.errors import UsageError
from medbench.harness.training.alignment import (
    Alignment,
    AlignmentTerms,
    build_alignment,
    retrieval,
)
from medbench.harness.training.config_terms import read_fields
from medbench.harness.training.teachers.protocol import Side, Teacher, TeacherTerms

TERMS = AlignmentTerms(TeacherTerms("toy"), side="vision", weight=0.1)
FEATURES, EMBEDDING, VISION, TEXT = 12, 16, 10, 6


class ToyTeacher(Teacher):
    """Linear towers; a text's embedding follows from its length."""

    vision_dims, text_dims = VISION, TEXT

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(1)
            self.visual: Any = nn.Linear(3, VISION)
            self.text: Any = nn.Linear(1, TEXT)

    def embed_images(self, images: Tensor) -> Tensor:
        return self.visual(images.mean(dim=(2, 3)))

    def embed_texts(self, texts: list[str]) -> Tensor:
        return self.text(torch.tensor([[float(len(text))] for text in texts]))

    def tower(self, side: Side) -> nn.Module:
        return self.visual if side == "vision" else self.text

    def keep_only(self, side: Side) -> None:
        del side


def make(features: int = EMBEDDING, **changes: Any) -> Alignment:
    frozen = changes.pop("frozen", True)
    teacher = TeacherTerms("toy", frozen=frozen)
    terms = replace(TERMS, teacher=teacher, **changes)
    return Alignment(terms, ToyTeacher(), feature_dims=features, embedding_dims=EMBEDDING, seed=0)


@dataclass
class Given:
    features: Tensor
    images: Tensor
    texts: list[str]
    logit_scale: Tensor


@pytest.fixture
def given() -> Given:
    generator = torch.Generator().manual_seed(5)
    return Given(
        torch.randn(8, EMBEDDING, generator=generator, requires_grad=True),
        torch.rand(8, 3, 4, 4, generator=generator) * 2 - 1,
        ["x" * (n + 1) for n in range(8)],
        torch.tensor(2.0, requires_grad=True),
    )


def ask(alignment: Alignment, given: Given) -> Tensor:
    return alignment(**vars(given))[0]


def embedded(alignment: Alignment, given: Given) -> Tensor:
    """The teacher's side, by hand."""
    teacher = alignment.teacher
    if alignment.terms.side == "vision":
        seen = teacher.embed_images(given.images)
    else:
        seen = teacher.embed_texts(given.texts)
    centred = seen - seen.mean(dim=1, keepdim=True)
    normal = centred / (seen.var(dim=1, unbiased=False, keepdim=True) + 1e-6).sqrt()
    head: Any = alignment.text_projection
    return normal @ head.weight.T + head.bias


@pytest.mark.parametrize("side", ["vision", "text"])
def test_contrast_equals_open_clips_loss(given, side) -> None:
    alignment = make(side=side)
    targets = nn.functional.normalize(embedded(alignment, given), dim=1)
    features = nn.functional.normalize(given.features, dim=1)
    want = 0.1 * ClipLoss()(features, targets, given.logit_scale.exp())
    torch.testing.assert_close(ask(alignment, given), want, rtol=1e-5, atol=1e-7)


def test_cosine_is_one_minus_the_mean_cosine(given) -> None:
    alignment = make(objective="cosine")
    targets = embedded(alignment, given)
    lengths = given.features.norm(dim=1) * targets.norm(dim=1)
    want = 0.1 * (1 - ((given.features * targets).sum(dim=1) / lengths).mean())
    torch.testing.assert_close(ask(alignment, given), want)


def test_shuffled_pairs_give_every_image_the_target_of_another(given) -> None:
    plain, shuffled = make(), make(shuffle_pairs=True)
    moved = Given(given.features, given.images.roll(1, 0), given.texts, given.logit_scale)
    torch.testing.assert_close(ask(shuffled, given), ask(plain, moved))
    assert abs((ask(shuffled, given) - ask(plain, given)).item()) > 1e-3


def test_a_frozen_teacher_learns_nothing_and_its_heads_do(given) -> None:
    alignment = make()
    ask(alignment, given).backward()
    assert not any(p.requires_grad or p.grad is not None for p in alignment.teacher.parameters())
    assert given.features.grad is not None
    parts = alignment.trained_parts()
    assert set(parts) == {"text_fc_norm", "text_projection"}
    for part in parts.values():
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in part.parameters())


def test_an_unfrozen_text_tower_is_trained_and_saved_under_upstreams_name(given) -> None:
    alignment = make(side="text", frozen=False)
    ask(alignment, given).backward()
    tower = alignment.trained_parts()["text_encoder"]
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in tower.parameters())


@pytest.mark.parametrize("side", ["vision", "text"])
def test_trained_parts_have_upstreams_names_and_epsilon_in_both_stages(side) -> None:
    parts = nn.ModuleDict(make(side=side).trained_parts())
    dims = VISION if side == "vision" else TEXT
    assert {k: tuple(v.shape) for k, v in parts.state_dict().items()} == {
        "text_fc_norm.weight": (dims,),
        "text_fc_norm.bias": (dims,),
        "text_projection.weight": (EMBEDDING, dims),
        "text_projection.bias": (EMBEDDING,),
    }
    assert parts["text_fc_norm"].eps == 1e-6


def test_a_pooled_head_takes_latents_of_any_length(given) -> None:
    alignment = make(features=FEATURES, image_head="pooled-mlp", head="mlp")
    latents = torch.randn(8, FEATURES, requires_grad=True)
    loss = ask(alignment, Given(latents, given.images, given.texts, given.logit_scale))
    loss.backward()
    assert alignment.pools_latents
    assert "image_head" in alignment.trained_parts()
    assert latents.grad is not None


def test_heads_follow_from_the_seed_alone() -> None:
    torch.manual_seed(11)
    before = torch.get_rng_state()
    first = make(features=FEATURES, image_head="pooled-mlp")
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(3)
    second = make(features=FEATURES, image_head="pooled-mlp")
    for name, value in first.state_dict().items():
        assert torch.equal(second.state_dict()[name], value), name


def test_retrieval_counts_rows_that_find_their_own() -> None:
    targets = torch.eye(4)
    features = targets[[0, 1, 3, 2]] * torch.tensor([[1.0], [5.0], [0.1], [2.0]])
    assert float(retrieval(features, targets)) == 0.5


def test_images_without_captions_are_left_out_of_the_comparison(given) -> None:
    module = make(side="text")
    rest = [0, 1, 2, 4, 5, 6, 7]
    texts = [given.texts[k] for k in rest]
    fewer = Given(given.features[rest], given.images[rest], texts, given.logit_scale)
    expected = ask(module, fewer)
    given.texts[3] = ""
    torch.testing.assert_close(ask(module, given), expected)
    given.texts[:] = [""] * 8
    assert float(ask(module, given)) == 0


def test_a_single_image_has_no_other_ones_target(given) -> None:
    one = Given(given.features[:1], given.images[:1], given.texts[:1], given.logit_scale)
    assert float(ask(make(shuffle_pairs=True), one)) == 0


def test_a_projection_of_another_length_is_refused() -> None:
    with pytest.raises(UsageError, match="gives 12 values, not 16"):
        make(features=FEATURES)


def test_a_network_without_contrastive_head_is_refused(tmp_path) -> None:
    @dataclass
    class Bare:
        latent_dims: int = 8
        embedding_dims: int = 0

    with pytest.raises(UsageError, match="drop_alignment"):
        build_alignment(TERMS, Bare(), tmp_path, seed=0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"objective": "sigmoid"}, "objective"),
        ({"lambda": 1.0}, "unknown terms: lambda"),
        ({"weight": -1.0}, "at least 0"),
    ],
)
def test_impossible_terms_are_refused_by_name(changes, message) -> None:
    terms = {"teacher": {"name": "clip"}, "side": "text", "weight": 1.0, **changes}
    with pytest.raises(UsageError, match=message):
        read_fields(AlignmentTerms, terms, "alignment")


SCRIPT = """
import runpy, sys
import torch
from safetensors.torch import save_file
from medbench.harness.training import parallel
here = runpy.run_path(sys.argv[1])
parallel.join()
generator = torch.Generator().manual_seed(5)
features = torch.randn(8, here["EMBEDDING"], generator=generator)
images = torch.rand(8, 3, 4, 4, generator=generator) * 2 - 1
mine = parallel.own_rows(8)
alignment = here["make"](shuffle_pairs=sys.argv[3] == "True")
own = features[mine].requires_grad_()
scale = torch.tensor(2.0, requires_grad=True)
texts = ["x"] * len(own)
loss, readings = alignment(own, images=images[mine], texts=texts, logit_scale=scale)
loss.backward()
shared = [alignment.text_projection.weight.grad, scale.grad, loss.detach().clone()]
parallel.sum_over_processes(shared)
shared = [each / parallel.world_size() for each in shared]
rows = parallel.gather_rows(own.grad) / parallel.world_size()
names = ("projection", "scale", "loss", "features")
if parallel.rank() == 0:
    found = dict(zip(names, (*shared, rows))) | {"retrieval": readings["retrieval"]}
    save_file(found, sys.argv[2])
"""


@pytest.mark.slow
@pytest.mark.parametrize("shuffled", [False, True])
def test_two_processes_give_the_loss_and_gradients_of_one(tmp_path, given, shuffled) -> None:
    alignment = make(shuffle_pairs=shuffled)
    loss, readings = alignment(**vars(given))
    loss.backward()
    script, out = tmp_path / "script.py", tmp_path / "found.safetensors"
    script.write_text(SCRIPT)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    subprocess.run(
        [*launch, str(script), str(Path(__file__)), str(out), str(shuffled)],
        check=True,
        timeout=300,
    )
    found = load_file(out)
    head: Any = alignment.text_projection
    want = {
        "loss": loss.detach(),
        "features": given.features.grad,
        "projection": head.weight.grad,
        "scale": given.logit_scale.grad,
        "retrieval": readings["retrieval"],
    }
    for name, value in want.items():
        torch.testing.assert_close(found[name], value, rtol=1e-5, atol=1e-7, msg=name)

from __future__ import annotations

import pickle

import pytest
import timm
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from medbench.harness.errors import MissingPrerequisite, UsageError
from medbench.harness.training.adversarial import AdversarialTerms, build_game
from medbench.tokenizers import dino_discriminator
from medbench.tokenizers.dino_discriminator import fit

BACKBONE = "vit_tiny_patch16_224"
SMALL = {"backbone": BACKBONE, "pretrained": False, "side": 48, "blocks": [0, 2, 11]}
OFFICIAL = "vit_small_patch14_dinov2.lvd142m"


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(count: int = 2, side: int = 48) -> Tensor:
    return torch.rand(count, 3, side, side, generator=generator(7)) * 2 - 1


def timm_backbone(side: int) -> torch.nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(4)
        return timm.create_model(BACKBONE, img_size=side, num_classes=0).eval()


def test_the_heads_see_each_blocks_patches_plus_class_token(tmp_path) -> None:
    oracle = timm_backbone(48)
    save_file(oracle.state_dict(), tmp_path / "vit.safetensors")
    options = SMALL | {"pretrained": True, "weights": str(tmp_path / "vit.safetensors")}
    made = dino_discriminator.build(options, 0)
    outputs: list[Tensor] = []
    for block in oracle.blocks:
        block.register_forward_hook(lambda _module, _inputs, output: outputs.append(output))
    mean, deviation = (
        torch.tensor(oracle.pretrained_cfg[name]).view(3, 1, 1) for name in ("mean", "std")
    )
    with torch.no_grad():
        oracle((images() / 2 + 0.5 - mean) / deviation)
        found = made.activations(images(), generator())
        logits = made(images(), generator())
    for index, ours in zip((0, 2, 11), found, strict=True):
        tokens = outputs[index]
        expected = (tokens[:, 1:] + tokens[:, :1]).transpose(1, 2)
        torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-5)
    assert logits.shape == (2, 3 * 9)


def test_the_published_shape_has_five_heads_of_324_logits_and_384_channels() -> None:
    made = dino_discriminator.build({"pretrained": False}, 0)
    assert made.terms.backbone == OFFICIAL
    with torch.no_grad():
        logits = made(images(1, 256), generator())
    assert logits.shape == (1, 5 * 18 * 18)
    assert made.mean.flatten().tolist() == pytest.approx([0.485, 0.456, 0.406])
    assert made.deviation.flatten().tolist() == pytest.approx([0.229, 0.224, 0.225])
    state = made.state_dict()
    assert {key.split(".")[0] for key in state} == {"heads"}
    assert state["heads.4.1.fn.0.weight"].shape == (384, 384, 9)
    # By hand, a head: 384² + 9·384² + 384 weights, 2·384 + 1 biases, two norms of 2·384.
    assert sum(each.numel() for each in made.parameters()) == 5 * (10 * 384**2 + 7 * 384 + 1)


def test_position_embeddings_of_another_side_are_resampled(tmp_path) -> None:
    weights = timm_backbone(224).state_dict()
    save_file(weights, tmp_path / "vit.safetensors")
    options = SMALL | {"pretrained": True, "weights": str(tmp_path / "vit.safetensors")}
    made = dino_discriminator.build(options, 0)
    grid = weights["pos_embed"][:, 1:].reshape(1, 14, 14, -1).permute(0, 3, 1, 2)
    resized = F.interpolate(grid, (3, 3), mode="bicubic", antialias=True).flatten(2).mT
    torch.testing.assert_close(made.backbone.network.pos_embed[:, 1:], resized)


def test_gradients_reach_the_image_and_the_heads_alone() -> None:
    made = dino_discriminator.build(SMALL, 0)
    given = images().requires_grad_()
    made(given, generator()).sum().backward()
    assert given.grad is not None
    assert (given.grad != 0).float().mean() > 0.9
    assert {name.split(".")[0] for name, _ in made.named_parameters()} == {"heads"}
    assert all(each.grad is not None for each in made.parameters())


def test_heads_follow_from_the_seed_and_the_random_state_stays() -> None:
    before = torch.get_rng_state()
    first, same, other = (dino_discriminator.build(SMALL, seed) for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), before)
    name = "0.1.fn.0.weight"
    weight = first.heads.state_dict()[name]
    assert torch.equal(weight, same.heads.state_dict()[name])
    assert not torch.equal(weight, other.heads.state_dict()[name])
    # Xavier: variance 2 / (fan in + fan out), times the square of the gain 0.5.
    expected = 0.5 * (2 / (192 * 9 * 2)) ** 0.5
    assert float(weight.std()) == pytest.approx(expected, rel=0.02)


def test_larger_images_are_cropped_or_averaged_and_smaller_ones_enlarged() -> None:
    large = images(2, 56)
    crops = F.unfold(large, 48).mT.reshape(2, 81, 3, 48, 48)
    averaged, cropped = 0, 0
    for seed in range(60):
        found = fit(large, 48, generator(seed))
        if torch.equal(found, F.adaptive_avg_pool2d(large, 48)):
            averaged += 1
        else:
            same = (crops == found[:, None]).flatten(2).all(dim=2)
            assert same.any(dim=1).all()
            assert torch.equal(same[0], same[1])
            cropped += 1
    assert averaged > 18
    assert cropped > 18
    assert torch.equal(fit(images(), 48, generator()), images())
    small = fit(images(1, 24), 48, generator())
    expected = F.interpolate(images(1, 24), scale_factor=2, mode="bicubic")
    torch.testing.assert_close(small, expected)


def test_the_game_takes_it_by_name() -> None:
    terms = AdversarialTerms.from_mapping({"kind": "dino", "discriminator": SMALL})
    game = build_game(terms, {"dino": dino_discriminator.build}, seed=0)
    gain = torch.nn.Parameter(torch.tensor(0.9))
    rec = gain * images()
    loss = (rec - images()).square().mean()
    term, _ = game.generator_term(rec, loss, gain, step=1, generator=generator())
    term.backward()
    assert gain.grad is not None
    found = game.discriminator_terms(images(), rec, step=1, generator=generator())
    assert all(torch.isfinite(each) and each > 0 for each in found.values())


def test_absent_weights_are_named_with_where_they_come_from(tmp_path) -> None:
    place = rf"huggingface.co/timm/{OFFICIAL}.*adversarial.discriminator.weights.*kind: patch"
    with pytest.raises(MissingPrerequisite, match=place):
        dino_discriminator.build({}, 0)
    with pytest.raises(MissingPrerequisite, match=r"gone\.pth is not there"):
        dino_discriminator.build({"weights": str(tmp_path / "gone.pth")}, 0)


class Trap:
    """A pickle that runs code."""

    def __reduce__(self) -> tuple:
        return (eval, ("1 / 0",))


def test_files_that_are_no_such_backbone_are_refused(tmp_path) -> None:
    weights = timm_backbone(48).state_dict()
    del weights["blocks.3.attn.qkv.weight"]
    save_file(weights, tmp_path / "part.safetensors")
    save_file({"blocks.0.norm1.weight": torch.zeros(7)}, tmp_path / "other.safetensors")
    (tmp_path / "trap.pth").write_bytes(pickle.dumps(Trap(), protocol=2))
    given = {"part.safetensors": "lacks blocks.3", "other.safetensors": "fit", "trap.pth": "weight"}
    for name, message in given.items():
        options = SMALL | {"pretrained": True, "weights": str(tmp_path / name)}
        with pytest.raises(UsageError, match=message):
            dino_discriminator.build(options, 0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"backbone": "vit_nothing"}, "cannot be built"),
        ({"backbone": "resnet18"}, "resnet18"),
        ({"backbone": "vit_base_patch16_siglip_224"}, "class token"),
        ({"blocks": [0, 12]}, "blocks 0 to 11"),
        ({"blocks": []}, "blocks 0 to 11"),
        ({"depth": 3}, "unknown terms: depth"),
        ({"norm": "ln"}, "norm"),
        ({"side": 50}, "50"),
    ],
)
def test_options_that_do_not_go_together_are_refused(change, message) -> None:
    with pytest.raises(UsageError, match=message):
        dino_discriminator.build(SMALL | change, 0)

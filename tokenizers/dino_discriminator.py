"""MedITok's discriminator: trainable heads on the tokens of a frozen DINOv2.

The backbone is timm's; its weights come from a local file or from the hub's cache, never from the
network. Source: Ma et al. 2025 (arXiv:2505.19225), after Sauer et al. 2023 (StyleGAN-T).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm
import torch
import torch.nn.functional as F
from huggingface_hub import try_to_load_from_cache
from timm.models.vision_transformer import VisionTransformer, checkpoint_filter_fn
from torch import Tensor, nn

from ..harness.errors import MissingPrerequisite, UsageError
from ..harness.training.adversarial import DiscriminatorKind
from ..harness.training.config_terms import read_fields
from ..harness.training.frozen import Frozen
from ..harness.training.patch_discriminator import initialise
from ..harness.weights_file import read_content
from .discriminator import DiscriminatorHeads, Norm

_CROP_SHARE = 0.5
"""How often a larger image is cropped instead of made smaller."""


@dataclass(frozen=True, slots=True)
class DINOTerms:
    """The backbone and what is looked at.

    Attributes:
        backbone: a vision transformer's name in timm.
        pretrained: False gives random weights, for tests and for counting.
        weights: file of the backbone's weights, timm's or its authors'; None looks into the hub's
            cache.
        side: of the images that the backbone sees, pixels.
        blocks: whose outputs have a head, from 0.
        norm: of the heads; see `DiscriminatorHeads`. With `bn`, a batch gives the same numbers on
            several processes only if each one's share is a multiple of eight images.
    """

    backbone: str = "vit_small_patch14_dinov2.lvd142m"
    pretrained: bool = True
    weights: str | None = None
    side: int = 252
    blocks: tuple[int, ...] = (0, 2, 5, 8, 11)
    norm: Norm = "gn"


class DINODiscriminator(nn.Module):
    """Heads on some blocks' outputs. Only the heads are parameters and state.

    Args:
        terms: the backbone and what is looked at.

    Raises:
        MissingPrerequisite: the backbone's weights are not on this machine.
        UsageError: timm has no such vision transformer, it has no such block, or its weights do
            not fit.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, terms: DINOTerms) -> None:
        super().__init__()
        backbone = _build_backbone(terms)
        depth = len(backbone.blocks)
        if not terms.blocks or min(terms.blocks) < 0 or max(terms.blocks) >= depth:
            message = f"{terms.backbone} has blocks 0 to {depth - 1}, not all of {terms.blocks}"
            raise UsageError(message)
        self.terms = terms
        self.backbone = Frozen(backbone)
        self.heads = DiscriminatorHeads(backbone.embed_dim, len(terms.blocks), norm=terms.norm)
        known: Any = backbone.pretrained_cfg  # what it was trained on: ImageNet's for DINOv2
        for name, values in (("mean", known["mean"]), ("deviation", known["std"])):
            self.register_buffer(name, torch.tensor(values)[:, None, None], persistent=False)

    def forward(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """(b, 3, H, W) in [-1, 1] -> logits (b, heads · tokens)."""
        return self.heads(self.activations(images, generator))

    def activations(self, images: Tensor, generator: torch.Generator) -> list[Tensor]:
        """What the heads see: of each block, patch tokens plus class token, (b, C, tokens)."""
        with torch.autocast(images.device.type, enabled=False):
            pixels = fit(images.float(), self.terms.side, generator)
            pixels = ((pixels + 1) / 2 - self.mean) / self.deviation
        found = self.backbone.network.forward_intermediates(
            pixels,
            indices=list(self.terms.blocks),
            return_prefix_tokens=True,
            stop_early=True,
            output_fmt="NLC",
            intermediates_only=True,
        )
        return [
            (patches.float() + first[:, :1].float()).transpose(1, 2) for patches, first in found
        ]


def fit(images: Tensor, side: int, generator: torch.Generator) -> Tensor:
    """Images (b, 3, H, H) to a side: larger ones by one crop or by area means, smaller by bicubic.

    One draw decides for all images, so that every process decides alike.
    """
    height, width = images.shape[-2:]
    if min(height, width) > side and float(torch.rand((), generator=generator)) < _CROP_SHARE:
        top, left = (
            int(torch.randint(length - side + 1, (), generator=generator))
            for length in (height, width)
        )
        return images[..., top : top + side, left : left + side]
    if (height, width) == (side, side):
        return images
    mode = "area" if height > side else "bicubic"
    return F.interpolate(images, (side, side), mode=mode)


def build(options: Mapping[str, Any], seed: int) -> DINODiscriminator:
    """A discriminator whose heads follow from the seed; see `DINOTerms` for the options.

    Raises:
        UsageError: an option is unknown or of the wrong kind, or does not fit the backbone.
        MissingPrerequisite: the backbone's weights are not on this machine.
    """
    terms = _read(options)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = DINODiscriminator(terms)
        made.heads.apply(initialise)
    return made


def find(options: Mapping[str, Any]) -> Path | None:
    """The file of the backbone's weights; None where the options ask for random ones.

    Raises:
        UsageError: an option is unknown or of the wrong kind.
        MissingPrerequisite: it is not on this machine.
    """
    terms = _read(options)
    return _weights_file(terms) if terms.pretrained else None


KIND = DiscriminatorKind(
    build, sketch=lambda options: build({**options, "pretrained": False}, 0), find=find
)


def _read(options: Mapping[str, Any]) -> DINOTerms:
    return read_fields(DINOTerms, options, "adversarial.discriminator")


def _build_backbone(terms: DINOTerms) -> VisionTransformer:
    try:
        made = timm.create_model(
            terms.backbone, pretrained=False, img_size=terms.side, num_classes=0
        )
    except (RuntimeError, TypeError, ValueError, AssertionError) as error:
        message = f"the discriminator's backbone {terms.backbone} cannot be built: {error}"
        raise UsageError(message) from error
    if not isinstance(made, VisionTransformer) or made.cls_token is None:
        message = f"{terms.backbone} is no vision transformer with a class token"
        raise UsageError(message)
    if terms.side % (patch := made.patch_embed.patch_size[0]):
        message = f"a side of {terms.side} cannot be cut into the {patch}-pixel patches"
        message += f" of {terms.backbone}"
        raise UsageError(message)
    if terms.pretrained:
        _load(made, _weights_file(terms))
    return made


def _load(backbone: VisionTransformer, path: Path) -> None:
    """Fill the backbone; position embeddings are resampled to its side."""
    try:
        content = checkpoint_filter_fn(dict(read_content(path)), backbone)
        missing = backbone.load_state_dict(content, strict=False).missing_keys
    except (RuntimeError, TypeError, ValueError, AttributeError) as error:
        message = f"{path} does not fit the discriminator's backbone: {error}"
        raise UsageError(message) from error
    if missing:
        message = f"{path} lacks {missing[0]} of the discriminator's backbone"
        raise UsageError(message)


def _weights_file(terms: DINOTerms) -> Path:
    """The named file, or the hub's copy of timm's."""
    config = timm.get_pretrained_cfg(terms.backbone)
    hub = config.hf_hub_id if config is not None and config.hf_hub_id else None
    if terms.weights is not None:
        path = Path(terms.weights)
    else:
        cached = try_to_load_from_cache(hub, "model.safetensors") if hub else None
        path = Path(cached) if isinstance(cached, str) else None
    if path is None or not path.is_file():
        place = f"https://huggingface.co/{hub} (model.safetensors)" if hub else "its authors"
        seen = f"{path} is not there" if path else "the hub's cache does not hold them"
        message = (
            f"the discriminator needs the weights of {terms.backbone}, and {seen}. Get them from "
            f"{place} and name the file in adversarial.discriminator.weights, or take kind: patch, "
            "which needs no weights."
        )
        raise MissingPrerequisite(message)
    return path

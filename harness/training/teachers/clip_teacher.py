"""The towers of an open_clip model as a teacher."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch.nn.functional as F
from torch import Tensor, nn

from ...errors import UsageError
from .protocol import Side, Teacher

Resize = Literal["nearest", "area"]


class ClipTeacher(Teacher):
    """The towers of an open_clip model whose text tower is a module of its own.

    Image embeddings are those before the projection into the common space (for ViT-B/16: 768),
    as MedITok's trainer takes them; text embeddings are those after it (512).

    Args:
        model: an `open_clip.model.CustomTextCLIP`; its image projection is taken off.
        tokenize: texts -> int64 (B, length).
        resize: how images come to the tower's side: `nearest` as upstream, or `area`, which
            loses nothing when it makes them smaller.
    """

    def __init__(
        self, model: nn.Module, tokenize: Callable[[list[str]], Tensor], *, resize: Resize
    ) -> None:
        super().__init__()
        visual: Any = model.visual
        self.visual: Any = visual
        self.text: Any = model.text
        self._tokenize = tokenize
        self._resize: Resize = resize
        size = visual.image_size
        self._side = int(size if isinstance(size, int) else size[0])
        self.vision_dims = _remove_projection(visual)
        self.text_dims = int(self.text.output_dim)

    def embed_images(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, H) in [-1, 1] -> (B, `vision_dims`); no other normalisation."""
        return self.tower("vision")(to_side(images, self._side, self._resize)).float()

    def embed_texts(self, texts: list[str]) -> Tensor:
        """B texts -> (B, `text_dims`)."""
        tower = self.tower("text")
        device = next(tower.parameters()).device
        return tower(self._tokenize(texts).to(device)).float()

    def tower(self, side: Side) -> nn.Module:
        """The image tower or the text tower."""
        found = self.visual if side == "vision" else self.text
        if found is None:
            message = f"this teacher was asked to let go of its {side} tower"
            raise UsageError(message)
        return found

    def keep_only(self, side: Side) -> None:
        """Let go of the other tower."""
        if side == "vision":
            self.text = None
        else:
            self.visual = None


def to_side(images: Tensor, side: int, how: Resize) -> Tensor:
    """Images (B, C, H, H) at another side; as they are where they have it already."""
    if images.shape[-1] == side:
        return images
    return F.interpolate(images, size=(side, side), mode=how)


def _remove_projection(visual: Any) -> int:
    """Make a tower give what it has before the projection; return how long that is."""
    trunk = getattr(visual, "trunk", None)
    if trunk is not None:  # a network of timm's and a head
        visual.head = nn.Identity()
        return int(trunk.num_features)
    projection = getattr(visual, "proj", None)
    if isinstance(projection, nn.Parameter | Tensor):
        visual.proj = None
        return int(projection.shape[0])
    return int(visual.output_dim)  # a ResNet's attention pool projects as it pools

"""The image tower of the teacher in miniature: a small residual network of timm's.

Group norms instead of batch norms: an image's embedding depends on no other image, so several
processes train what one does.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from timm.layers.norm import GroupNorm
from timm.models.resnet import BasicBlock, ResNet
from torch import Tensor, nn

from ...errors import UsageError

_GROUPS = 8
_STAGES = 4
"""timm's residual networks have so many."""


class ImageTower(nn.Module):
    """Trunk and projection, in the form of open_clip's towers.

    Args:
        widths: of the four stages, each at half the side of the one before, the first at a
            quarter of the image's; multiples of 16.
        out: length of the embedding.
        side: of the images, pixels.

    Raises:
        UsageError: there are not four such widths.
    """

    def __init__(self, widths: Sequence[int], out: int, *, side: int) -> None:
        super().__init__()
        if len(widths) != _STAGES or any(w < 1 or w % (2 * _GROUPS) for w in widths):
            message = (
                f"image_widths must be {_STAGES} multiples of {2 * _GROUPS}, not {tuple(widths)}"
            )
            raise UsageError(message)
        self.image_size = side
        block: Any = BasicBlock
        norm: Any = partial(GroupNorm, num_groups=_GROUPS)
        self.trunk = ResNet(
            block,
            (1,) * _STAGES,
            channels=tuple(widths),
            norm_layer=norm,
            stem_type="deep",
            stem_width=widths[0] // 2,
            num_classes=0,
        )
        self.head = nn.Linear(widths[-1], out, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, H) -> (B, `out`)."""
        return self.head(self.trunk(images))

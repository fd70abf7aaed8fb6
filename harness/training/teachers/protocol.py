"""What training asks of a teacher, and how a configuration names one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

Side = Literal["vision", "text"]


@dataclass(frozen=True, slots=True)
class TeacherTerms:
    """Which teacher.

    Attributes:
        name: `biomedclip`, `clip`, `open_clip:MODEL/WEIGHTS` or `open_clip:OWNER/REPOSITORY` of
            the hub, or `miniature`.
        weights: a local folder in open_clip's hub layout or a weights file; for `miniature` the
            folder of its training. None: where `medbench weights` and the hub's cache keep it.
        stage: for `miniature`, the earlier stage of the same run that trained it.
        frozen: False trains the teacher's tower along (for `side: text`, upstream's
            `text_encoder`).
    """

    name: str
    weights: str | None = None
    stage: str | None = None
    frozen: bool = True


class Teacher(nn.Module, ABC):
    """Embeds images and texts. Images are float32 (B, 3, H, H) in [-1, 1], of any side H."""

    vision_dims: int
    """Length of an image's embedding."""
    text_dims: int
    """Length of a text's embedding."""

    @abstractmethod
    def embed_images(self, images: Tensor) -> Tensor:
        """Images -> float32 (B, `vision_dims`), not normalised."""

    @abstractmethod
    def embed_texts(self, texts: list[str]) -> Tensor:
        """B texts -> float32 (B, `text_dims`), not normalised."""

    @abstractmethod
    def tower(self, side: Side) -> nn.Module:
        """The part that embeds one kind: what is trained where the teacher is not frozen."""

    @abstractmethod
    def keep_only(self, side: Side) -> None:
        """Let go of the other part, whose memory is not needed."""

"""PUMIT's simple tokenizer as the harness speaks to it, once as published and once hard.

Upstream decodes the mean of the embeddings by their probabilities: `pumit`, which is continuous.
`pumit-hard` takes the most probable embedding instead: a code, and a worse reconstruction, since
the network was not trained for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from ..harness.checkpoint import Checkpoint, checkpoint_of
from ..harness.entries import TokenizerEntry
from ..harness.errors import UsageError
from ..harness.image_batch import check_images
from ..harness.model_card import read_model_card
from ..harness.protocol import Encoding, TokenizerInfo
from ..harness.weights import load_into
from .emu3_pumit_catalogue import PUMIT_ENTRY, PUMIT_HARD_ENTRY
from .pumit_config import OFFICIAL_CONFIG, PUMITConfig
from .pumit_model import PUMITModel, collapsed
from .pumit_volume import PUMITVolumeNetwork
from .single_codebook import checked_grid
from .taming_adapter import checked_latents, network_images, protocol_images, tokens
from .taming_config import BENCHMARK_SIDE

_CARD = read_model_card(Path(__file__).parent / "cards" / "pumit.yaml")


class PUMIT:
    """A PUMIT tokenizer as published, behind the `Tokenizer` protocol.

    Args:
        model: the network for images with its weights; it is put in evaluation mode.
        info: what records repeat.
        read_volume: gives the network with three-dimensional kernels, on the same device.
    """

    def __init__(
        self, model: PUMITModel, info: TokenizerInfo, *, read_volume: Callable[[], PUMITModel]
    ) -> None:
        self.model = model.eval().requires_grad_(False)
        self.info = info
        self._read_volume = read_volume
        self._device = next(model.parameters()).device

    @cached_property
    def volume(self) -> PUMITVolumeNetwork:
        """The network for volumes, read from the checkpoint when it is first asked for.

        Raises:
            UsageError: the file has changed since.
        """
        return PUMITVolumeNetwork(self._read_volume())

    @torch.no_grad()
    def encode(self, images: Tensor) -> Encoding:
        """float32 (B, 3, H, H) in [0, 1] -> mixed embeddings (B, D, h, w)."""
        latent = self._latent(images)
        return replace(self._quantised(latent), continuous=tokens(latent))

    @torch.no_grad()
    def decode(self, encoding: Encoding) -> Tensor:
        """Latents -> float32 (B, 3, H, H), not clamped.

        Raises:
            UsageError: they are absent, or their shape or kind is wrong.
        """
        latents = checked_latents(encoding.latents, self.info)
        return protocol_images(self.model.decoder(latents.to(self._device)))

    @torch.no_grad()
    def features(self, images: Tensor) -> Tensor:
        """float32 (B, 3, H, H) -> what is decoded, cell by cell (B, L, D)."""
        latents = self.encode(images).latents
        assert latents is not None
        return tokens(latents)

    @torch.no_grad()
    def continuous(self, images: Tensor) -> Tensor:
        """float32 (B, 3, H, H) -> the latent before quantisation (B, L, D)."""
        return tokens(self._latent(images))

    @torch.no_grad()
    def encode_volume(self, volumes: Tensor, aniso_d: int) -> Encoding:
        """Volumes -> the latent that is decoded, (B, D, d, h, w).

        Args:
            volumes: float32 (B, 3, depth, height, width) in [0, 1]; height and width are multiples
                of `info.downsample`, depth of `volume.depth_downsample(aniso_d)`.
            aniso_d: by how many powers of two slices lie further apart than pixels.

        Raises:
            UsageError: type, shape, range or `aniso_d` is wrong.
        """
        return self._quantised(self._volume_latent(volumes, aniso_d))

    @torch.no_grad()
    def decode_volume(self, encoding: Encoding, aniso_d: int) -> Tensor:
        """The latents of `encode_volume` -> float32 (B, 3, depth, height, width), not clamped.

        Raises:
            UsageError: latents or `aniso_d` are wrong.
        """
        latents, dims = encoding.latents, self.info.latent_dims
        if (
            latents is None
            or latents.ndim != 5
            or latents.shape[1] != dims
            or latents.dtype != torch.float32
            or not latents.isfinite().all()
        ):
            message = f"{self.info.full_name}: latents must be finite float32 (B, {dims}, d, h, w)"
            raise UsageError(message)
        return protocol_images(self.volume.decode(latents.to(self._device), aniso_d))

    def _volume_latent(self, volumes: Tensor, aniso_d: int) -> Tensor:
        if volumes.ndim != 5 or volumes.shape[1] != 3 or volumes.dtype != torch.float32:
            message = (
                f"{self.info.full_name}: volumes must be float32 (B, 3, depth, height, width), "
                f"got {volumes.dtype} {tuple(volumes.shape)}"
            )
            raise UsageError(message)
        if not bool(((volumes >= 0) & (volumes <= 1)).all()):
            message = f"{self.info.full_name}: volume values must be finite and in [0, 1]"
            raise UsageError(message)
        return self.volume.encode(network_images(volumes.to(self._device), 3), aniso_d)

    def _quantised(self, z: Tensor) -> Encoding:
        logits = self.model.quantize.logits(z)
        return Encoding(latents=self.model.quantize.mixed(logits.softmax(dim=-1)))

    def _latent(self, images: Tensor) -> Tensor:
        check_images(images, tokenizer=self.info.full_name, size_multiple=self.info.size_multiple)
        return self.model.encoder(network_images(images.to(self._device), 3))


class PUMITHard(PUMIT):
    """The same network, with the most probable embedding in each cell.

    `encode` gives indices (B, 1, L) and their embeddings in place (B, D, h, w); `encode_volume`
    orders the indices slice after slice, and `decode_volume` takes the embeddings.
    """

    def _quantised(self, z: Tensor) -> Encoding:
        indices = self.model.quantize.logits(z).argmax(dim=-1)
        return Encoding(indices.flatten(1).unsqueeze(1), self.model.quantize.look_up(indices))

    @torch.no_grad()
    def decode(self, encoding: Encoding) -> Tensor:
        """Indices, or without them latents -> float32 (B, 3, H, H), not clamped.

        Raises:
            UsageError: neither is given, or shape, kind or range is wrong.
        """
        if encoding.indices is not None:
            indices = checked_grid(encoding.indices, self.info).to(self._device)
            encoding = Encoding(latents=self.model.quantize.look_up(indices))
        return super().decode(encoding)


def build(
    *,
    variant: str,
    config: Mapping[str, Any] | None = None,
    weights: Mapping[str, Tensor] | Path | str | None = None,
    device: str = "cpu",
) -> PUMIT:
    """A PUMIT tokenizer as published, with weights.

    Args:
        variant: `official`, or a name for the user's own.
        config: the terms of upstream's `SimpleVQTokenizer`; None takes the published ones.
        weights: a file, or a state dict in upstream's keys (three-dimensional kernels). It is kept
            in mind: the network for volumes is read from it again when it is first used.
        device: torch device.

    Raises:
        UsageError: configuration or checkpoint are wrong, or do not fit together.
        MissingPrerequisite: no weights were given; the message says where the published ones are.
    """
    return _Source(PUMIT_ENTRY, variant, config, weights).build(PUMIT, device)


def build_hard(
    *,
    variant: str,
    config: Mapping[str, Any] | None = None,
    weights: Mapping[str, Tensor] | Path | str | None = None,
    device: str = "cpu",
) -> PUMITHard:
    """A PUMIT tokenizer that takes the most probable embedding; all else as for `build`."""
    return _Source(PUMIT_HARD_ENTRY, variant, config, weights).build(PUMITHard, device)


_Kind = TypeVar("_Kind", bound=PUMIT)


@dataclass(frozen=True, slots=True)
class _Source:
    """What a factory was asked for."""

    entry: TokenizerEntry
    variant: str
    config: Mapping[str, Any] | None
    weights: Mapping[str, Tensor] | Path | str | None

    def build(self, kind: type[_Kind], device: str) -> _Kind:
        parsed = PUMITConfig.from_mapping(OFFICIAL_CONFIG if self.config is None else self.config)
        checkpoint = self._checkpoint()
        with torch.device("meta"):  # nothing is drawn or allocated that is replaced anyway
            model = PUMITModel(parsed)
        model.load_state_dict(collapsed(self._volume(parsed, checkpoint)), assign=True)
        info = _describe(self.entry, self.variant, parsed, checkpoint)

        sha256 = checkpoint.sha256  # the tensors themselves must not outlive this function

        def read_volume() -> PUMITModel:
            again = self._checkpoint()
            if again.sha256 != sha256:
                message = f"{info.full_name}: {self.weights} has changed since it was loaded"
                raise UsageError(message)
            return self._volume(parsed, again).to(device)

        return kind(model.to(device), info, read_volume=read_volume)

    def _checkpoint(self) -> Checkpoint:
        return checkpoint_of(self.entry, self.variant, self.weights, config=self.config)

    def _volume(self, config: PUMITConfig, checkpoint: Checkpoint) -> PUMITModel:
        with torch.device("meta"):
            volume = PUMITModel(config, dimensions=3)
        load_into(volume, checkpoint.state, name=f"{self.entry.name}@{self.variant}")
        return volume


def _describe(
    entry: TokenizerEntry, variant: str, config: PUMITConfig, checkpoint: Checkpoint
) -> TokenizerInfo:
    hard = entry.kind == "discrete"
    return TokenizerInfo(
        name=entry.name,
        variant=variant,
        kind=entry.kind,
        resolution=BENCHMARK_SIDE,
        size_multiple=config.downsample,
        downsample=config.downsample,
        layout="raster" if hard else "none",
        codebooks=1 if hard else 0,
        codebook_size=config.num_embeddings if hard else 0,
        positions=config.positions if hard else 0,
        latent_dims=config.embedding_dim,
        feature_dims=config.embedding_dim,
        parameters=sum(tensor.numel() for tensor in checkpoint.state.values()),
        weights_sha256=checkpoint.sha256,
        bits_per_image=config.hard_bits_per_image if hard else config.soft_bits_per_image,
        **asdict(_CARD.provenance(variant)),
    )

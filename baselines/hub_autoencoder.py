"""Autoencoders of the diffusers library: `AutoencoderKL` and `VQModel`.

The library builds the network from `config.json` and fills it; a file that leaves tensors unfilled
is refused. `AutoencoderKL` is continuous and gives the posterior mean, not a sample of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..harness.documents import load_json
from ..harness.errors import MissingPrerequisite, UsageError
from ..harness.image_batch import check_images
from ..harness.protocol import Encoding, TokenizerInfo, code_bits
from ..harness.weights_lock import original_sha256
from .single_codebook import checked_grid
from .taming_adapter import checked_latents, network_images, protocol_images, tokens
from .taming_config import BENCHMARK_SIDE

_CLASSES = ("AutoencoderKL", "VQModel")


class HubAutoencoder:
    """A diffusers autoencoder behind the `Tokenizer` protocol.

    Args:
        model: the network with its weights; it is put in evaluation mode.
        info: what records repeat; kind `discrete` for `VQModel`.
    """

    def __init__(self, model: Any, info: TokenizerInfo) -> None:
        self.model = model.eval().requires_grad_(False)
        self.info = info
        self._device = next(model.parameters()).device

    @torch.no_grad()
    def encode(self, images: Tensor) -> Encoding:
        """float32 (B, 3, H, H) in [0, 1] -> indices and codes, or the posterior mean."""
        latent = self._latent(images)
        if self.info.kind == "continuous":
            return Encoding(latents=latent, continuous=tokens(latent))
        quantised, _, (_, _, indices) = self.model.quantize(latent)
        indices = indices.reshape(len(images), 1, -1)
        return Encoding(indices, quantised.contiguous(), continuous=tokens(latent))

    @torch.no_grad()
    def decode(self, encoding: Encoding) -> Tensor:
        """Indices or latents -> float32 (B, 3, H, H), not clamped.

        Raises:
            UsageError: neither is given, or shape, kind or range is wrong.
        """
        if self.info.kind == "continuous":
            latent = checked_latents(encoding.latents, self.info).to(self._device)
            return protocol_images(self.model.decode(latent).sample)
        if encoding.indices is not None:
            grid = checked_grid(encoding.indices, self.info).to(self._device)
            latent = self.model.quantize.embedding(grid).permute(0, 3, 1, 2).contiguous()
        else:
            latent = checked_latents(encoding.latents, self.info).to(self._device)
        return protocol_images(self.model.decode(latent, force_not_quantize=True).sample)

    @torch.no_grad()
    def features(self, images: Tensor) -> Tensor:
        """float32 (B, 3, H, H) -> quantised latent, or posterior mean, cell by cell (B, L, D)."""
        latents = self.encode(images).latents
        assert latents is not None
        return tokens(latents)

    @torch.no_grad()
    def continuous(self, images: Tensor) -> Tensor:
        """float32 (B, 3, H, H) -> latent before quantisation (B, L, D)."""
        return tokens(self._latent(images))

    def _latent(self, images: Tensor) -> Tensor:
        check_images(images, tokenizer=self.info.full_name, size_multiple=self.info.size_multiple)
        found = self.model.encode(network_images(images.to(self._device), 3))
        return found.latents if self.info.kind == "discrete" else found.latent_dist.mean


def build(
    *,
    variant: str,
    config: Mapping[str, Any] | None = None,
    weights: Mapping[str, Tensor] | Path | str | None = None,
    device: str = "cpu",
) -> HubAutoencoder:
    """A diffusers autoencoder from its weights file, beside which its `config.json` lies.

    Args:
        variant: revision, or a name for the user's own.
        config: `model`, the name after the prefix.
        weights: the file.
        device: torch device.

    Raises:
        UsageError: another class than the two, colour channels other than three, or a file that
            does not fill the network.
        MissingPrerequisite: diffusers or `config.json` is missing.
    """
    name = f"diffusers:{(config or {}).get('model', 'model')}"
    if not isinstance(weights, str | Path):
        message = f"{name}: diffusers models are loaded from a file with config.json beside it"
        raise UsageError(message)
    path = Path(weights)
    facts = read_config_beside(path, name=name)
    kind = facts.get("_class_name")
    if kind not in _CLASSES:
        message = f"{name}: config.json is of class {kind!r}; supported: {', '.join(_CLASSES)}"
        raise UsageError(message)
    if facts.get("in_channels", 3) != 3 or facts.get("out_channels", 3) != 3:
        message = f"{name}: {facts.get('in_channels')} colour channels; three are needed"
        raise UsageError(message)
    model = _load(kind, path, name=name)
    info = _describe(model, name, variant, original_sha256(path))
    return HubAutoencoder(model.to(device), info)


def read_config_beside(weights: Path, *, name: str) -> dict[str, Any]:
    """The `config.json` beside a weights file.

    Raises:
        MissingPrerequisite: it is not there.
        UsageError: it is not a JSON object.
    """
    path = weights.parent / "config.json"
    try:
        facts = load_json(path)
    except FileNotFoundError as error:
        message = f"{name}: {path} is missing. Fetch again, or copy it from the repository."
        raise MissingPrerequisite(message) from error
    except ValueError as error:
        message = f"{path}: not JSON ({error})"
        raise UsageError(message) from error
    if not isinstance(facts, dict):
        message = f"{path}: not a JSON object"
        raise UsageError(message)
    return facts


def refuse_unfilled(loading: Mapping[str, Any], *, name: str) -> None:
    """Refuse a network that its file did not fill.

    Raises:
        UsageError: tensors are missing, unknown or of another shape; the first few are named.
    """
    problems = []
    for what in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        keys = sorted(map(str, loading.get(what) or []))
        if keys:
            problems.append(f"{what.partition('_')[0]}: {', '.join(keys[:5])} ({len(keys)} in all)")
    if problems:
        message = f"{name}: the weights do not fit config.json: {'; '.join(problems)}"
        raise UsageError(message)


def _load(kind: str, path: Path, *, name: str) -> Any:
    try:
        import diffusers
    except ImportError as error:
        message = f'{name} needs the diffusers library: pip install "medbench[hub]"'
        raise MissingPrerequisite(message) from error
    try:
        model, loading = getattr(diffusers, kind).from_pretrained(
            path.parent,
            local_files_only=True,
            low_cpu_mem_usage=False,
            output_loading_info=True,
            torch_dtype=torch.float32,
        )
    except Exception as error:  # the library raises many kinds for one fact: it does not fit
        message = f"{name}: {path.parent} cannot be loaded ({type(error).__name__}: {error})"
        raise UsageError(message) from error
    refuse_unfilled(loading, name=name)
    return model


def _describe(model: Any, name: str, variant: str, sha256: str) -> TokenizerInfo:
    facts = model.config
    discrete = type(model).__name__ == "VQModel"
    factor = 2 ** (len(facts.block_out_channels) - 1)
    cells = (BENCHMARK_SIDE // factor) ** 2
    dims = (facts.vq_embed_dim or facts.latent_channels) if discrete else facts.latent_channels
    size = facts.num_vq_embeddings if discrete else 0
    bits = code_bits(1, cells, size) if discrete else dims * cells * 16.0
    return TokenizerInfo(
        name=name,
        variant=variant,
        kind="discrete" if discrete else "continuous",
        resolution=BENCHMARK_SIDE,
        size_multiple=factor,
        downsample=factor,
        layout="raster" if discrete else "none",
        codebooks=int(discrete),
        codebook_size=size,
        positions=cells,
        latent_dims=dims,
        feature_dims=dims,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        weights_sha256=sha256,
        source=f"{type(model).__name__} of the diffusers library",
        bits_per_image=bits,
    )

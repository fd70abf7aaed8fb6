"""Image encoders of timm and open_clip: features only, with the preprocessing of their weights.

The whole image is resized to the side that the encoder was trained at (no crop, which would lose
the border of a medical image); mean and deviation are those of the weights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from ..harness.errors import NotApplicable, UsageError
from ..harness.image_batch import check_images
from ..harness.protocol import Encoding, TokenizerInfo
from ..harness.weights_lock import original_sha256
from .taming_config import BENCHMARK_SIDE

_REASON = "an encoder without a decoder has neither codes nor images to give back"


class HubEncoder:
    """An encoder behind the `Tokenizer` protocol.

    Args:
        tokens: images of the encoder's own side and range -> (B, L, D).
        model: the network, for its parameters and device; put in evaluation mode.
        preprocessing: `side`, `mean`, `std` and `interpolation`.
        info: what records repeat.
    """

    def __init__(
        self,
        tokens: Callable[[Tensor], Tensor],
        model: torch.nn.Module,
        preprocessing: Mapping[str, Any],
        info: TokenizerInfo,
    ) -> None:
        self.model = model.eval().requires_grad_(False)
        self.info = info
        self._tokens = tokens
        self._side = int(preprocessing["side"])
        self._mode: Literal["bicubic", "bilinear"] = (
            "bicubic" if preprocessing["interpolation"] == "bicubic" else "bilinear"
        )
        self._device = next(model.parameters()).device
        self._mean = torch.tensor(preprocessing["mean"], device=self._device).view(1, 3, 1, 1)
        self._std = torch.tensor(preprocessing["std"], device=self._device).view(1, 3, 1, 1)

    def encode(self, images: Tensor) -> Encoding:  # noqa: ARG002 (the protocol's signature)
        """Not applicable.

        Raises:
            NotApplicable: always.
        """
        raise NotApplicable(f"{self.info.full_name}: {_REASON}")

    def decode(self, encoding: Encoding) -> Tensor:  # noqa: ARG002 (the protocol's signature)
        """Not applicable.

        Raises:
            NotApplicable: always.
        """
        raise NotApplicable(f"{self.info.full_name}: {_REASON}")

    @torch.no_grad()
    def features(self, images: Tensor) -> Tensor:
        """float32 (B, 3, H, H) in [0, 1] -> patch tokens (B, L, D), without class tokens."""
        check_images(images, tokenizer=self.info.full_name, size_multiple=1)
        images = images.to(self._device)
        if images.shape[-1] != self._side:
            size = (self._side, self._side)
            images = F.interpolate(images, size, mode=self._mode, antialias=True).clamp(0, 1)
        return self._tokens((images - self._mean) / self._std).float().contiguous()


def build_timm(
    *,
    variant: str,
    config: Mapping[str, Any] | None = None,
    weights: Mapping[str, Tensor] | Path | str | None = None,
    device: str = "cpu",
) -> HubEncoder:
    """A timm encoder from its weights file; `config` holds `model`, timm's name.

    Raises:
        UsageError: no file, or one that does not fill the network.
    """
    name, model_name, path = _given("timm", config, weights)
    import timm

    overlay = {"file": str(path), "hf_hub_id": None, "url": ""}
    try:
        model = timm.create_model(
            model_name, pretrained=True, num_classes=0, pretrained_cfg_overlay=overlay
        )
    except Exception as error:  # timm lets each loader's own kinds of error through
        message = f"{name}: {path} does not fit ({type(error).__name__}: {error})"
        raise UsageError(message) from error
    facts = timm.data.resolve_model_data_config(model)  # type: ignore[attr-defined]
    preprocessing = {**facts, "side": facts["input_size"][-1]}
    made: Any = model.to(device).eval()

    def tokens(images: Tensor) -> Tensor:
        found = made.forward_features(images)
        if found.ndim == 3:
            return found[:, getattr(made, "num_prefix_tokens", 0) :]
        channels_last = getattr(made, "output_fmt", "NCHW") == "NHWC"
        return found.flatten(1, 2) if channels_last else found.flatten(2).transpose(1, 2)

    return _encoder(name, variant, made, tokens, preprocessing, original_sha256(path))


def build_open_clip(
    *,
    variant: str,
    config: Mapping[str, Any] | None = None,
    weights: Mapping[str, Tensor] | Path | str | None = None,
    device: str = "cpu",
) -> HubEncoder:
    """The image tower of an open_clip model; `config` holds `model` as `MODEL/WEIGHTS`.

    Raises:
        UsageError: no file, or one that does not fill the network.
    """
    name, model_name, path = _given("open_clip", config, weights)
    import open_clip

    architecture, _, tag = model_name.partition("/")
    published = open_clip.get_pretrained_cfg(architecture, tag)
    try:
        model: Any = open_clip.create_model(
            architecture,
            pretrained=str(path),
            load_weights=True,
            weights_only=True,
            # With a name of weights the library knows it; with a path it would take plain GELU.
            force_quick_gelu=bool(published.get("quick_gelu")),
        )
    except Exception as error:  # the library lets torch's kinds of error through
        message = f"{name}: {path} does not fit ({type(error).__name__}: {error})"
        raise UsageError(message) from error
    facts = {**model.visual.preprocess_cfg, **{k: v for k, v in published.items() if k in _FACTS}}
    size = facts.get("size", 224)
    preprocessing = {**facts, "side": size if isinstance(size, int) else size[0]}
    tower: Any = model.visual.to(device).eval()
    last = model_name not in _LLAVA_TOWERS

    def tokens(images: Tensor) -> Tensor:
        found = tower.forward_intermediates(
            images,
            indices=1 if last else 2,
            normalize_intermediates=last,
            intermediates_only=True,
        )["image_intermediates"][0]
        return found.flatten(2).transpose(1, 2)

    layer = "last layer, normalised" if last else "second-to-last layer, not normalised, as LLaVA"
    return _encoder(
        name, variant, tower, tokens, preprocessing, original_sha256(path), note=f", {layer}"
    )


_FACTS = ("mean", "std", "interpolation")
_LLAVA_TOWERS = frozenset({"ViT-L-14-336/openai", "ViT-L-14-336-quickgelu/openai"})
"""Read as LLaVA's image tower is (`mm_vision_select_layer` -2, patch tokens)."""


def _given(prefix: str, config: Mapping[str, Any] | None, weights: Any) -> tuple[str, str, Path]:
    model = str((config or {}).get("model", ""))
    name = f"{prefix}:{model}"
    if not model or not isinstance(weights, str | Path):
        message = f"{name}: needs the model's name and its weights file"
        raise UsageError(message)
    return name, model, Path(weights)


def _encoder(
    name: str,
    variant: str,
    model: torch.nn.Module,
    tokens: Callable[[Tensor], Tensor],
    preprocessing: Mapping[str, Any],
    sha256: str,
    *,
    note: str = "",
) -> HubEncoder:
    side = int(preprocessing["side"])
    device = next(model.parameters()).device
    with torch.no_grad():
        shape = tokens(torch.zeros(1, 3, side, side, device=device)).shape
    info = TokenizerInfo(
        name=name,
        variant=variant,
        kind="continuous",
        resolution=BENCHMARK_SIDE,
        positions=shape[1],
        feature_dims=shape[2],
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        weights_sha256=sha256,
        source=f"the library's own network and preprocessing, {side} pixels{note}",
        cannot={"encode": _REASON, "decode": _REASON},
    )
    return HubEncoder(tokens, model, preprocessing, info)

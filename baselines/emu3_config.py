"""Sizes of the Emu3 vision tokenizer, in upstream's constructor terms.

No torch here: catalogues and listings read configurations.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..harness.errors import UsageError
from ..harness.protocol import code_bits
from ..tokenizers.meditok_config import refuse_unknown
from .config_checks import require_count
from .taming_config import NORM_GROUPS, TrunkSizes

OFFICIAL_CONFIG: dict[str, Any] = {
    "codebook_size": 32768,
    "embed_dim": 4,
    "z_channels": 4,
    "double_z": False,
    "in_channels": 3,
    "out_channels": 3,
    "temporal_downsample_factor": 4,
    "ch": 256,
    "ch_mult": [1, 2, 2, 4],
    "num_res_blocks": 2,
    "attn_resolutions": [3],
    "dropout": 0.0,
}
"""The published network; upstream's constructor takes these where a term is left out."""

_HUB_TERMS = frozenset(
    {"architectures", "auto_map", "model_type", "dtype", "torch_dtype", "transformers_version"}
)
"""What the `config.json` of a hub repository says beside the sizes."""


@dataclass(frozen=True, slots=True)
class Emu3Config:
    """One network: a convolutional trunk per frame, layers over time, and one codebook."""

    trunk: TrunkSizes
    codebook_size: int
    clip_length: int
    """Frames that become one latent frame; an image is repeated so often."""

    def __post_init__(self) -> None:
        """Refuse combinations that cannot be built."""
        require_count("temporal_downsample_factor", self.clip_length)
        require_count("codebook_size", self.codebook_size)
        if self.codebook_size == 1:
            message = "codebook_size must be at least 2, not 1"
            raise UsageError(message)
        if self.trunk.in_channels != 3 or self.trunk.out_channels != 3:
            message = (
                "in_channels and out_channels must both be 3: "
                f"{self.trunk.in_channels} and {self.trunk.out_channels}"
            )
            raise UsageError(message)

    @property
    def halvings(self) -> int:
        """Layers that halve the number of frames (and layers that double it again)."""
        return self.clip_length.bit_length() - 1

    @property
    def bits_per_image(self) -> float:
        """Nominal bits of the codes of a 256-pixel image."""
        return code_bits(1, self.trunk.cells, self.codebook_size)

    @classmethod
    def from_mapping(cls, terms: Mapping[str, Any]) -> Emu3Config:
        """Read the terms of `Emu3VisionVQConfig`.

        Raises:
            UsageError: a term is unknown or impossible, or latent and codes differ in width.
        """
        if not isinstance(terms, Mapping):
            message = f"a configuration must be a mapping of terms, not {terms!r}"
            raise UsageError(message)
        refuse_unknown(terms, {*OFFICIAL_CONFIG, "norm_groups"} | _HUB_TERMS)
        values = {name: terms.get(name, value) for name, value in OFFICIAL_CONFIG.items()}
        if values["double_z"] is not False:
            message = f"double_z must be false: the codes have no variance ({values['double_z']!r})"
            raise UsageError(message)
        if values["embed_dim"] != values["z_channels"]:
            message = (
                "embed_dim and z_channels must be the same number, because the decoder's layers "
                f"over time read both: {values['embed_dim']!r} and {values['z_channels']!r}"
            )
            raise UsageError(message)
        levels = frozenset(_integers("attn_resolutions", values["attn_resolutions"]))
        trunk = TrunkSizes(
            in_channels=values["in_channels"],
            out_channels=values["out_channels"],
            z_channels=values["z_channels"],
            ch=values["ch"],
            ch_mult=_integers("ch_mult", values["ch_mult"]),
            num_res_blocks=values["num_res_blocks"],
            encoder_attention=levels,
            decoder_attention=levels,
            dropout=values["dropout"],
            norm_groups=terms.get("norm_groups", NORM_GROUPS),
        )
        return cls(trunk, values["codebook_size"], values["temporal_downsample_factor"])


def _integers(name: str, value: Any) -> tuple[int, ...]:
    whole = isinstance(value, list | tuple) and all(
        isinstance(item, int) and not isinstance(item, bool) for item in value
    )
    if not whole or min(value, default=0) < 0:
        message = f"{name} must be a list of integers that are not negative, not {value!r}"
        raise UsageError(message)
    return tuple(value)

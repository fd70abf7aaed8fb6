"""Sizes of the networks of the VQGAN family, in upstream's constructor terms.

taming-transformers (Esser et al. 2021, arXiv:2012.09841) and what descends from it keep the sizes
of the convolutional encoder and decoder under `ddconfig`. No torch here: catalogues read these.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..harness.errors import UsageError
from ..harness.protocol import code_bits
from ..tokenizers.meditok_config import refuse_unknown
from .config_checks import is_count, require_count, require_counts, require_flag

BENCHMARK_SIDE = 256
"""Pixels; a configured `resolution` only says on which levels attention stands."""

BITS_PER_LATENT_VALUE = 16
"""What a continuous latent is charged, as if stored in half precision."""

NORM_GROUPS = 32
"""Of every group norm of the published networks."""
_MOST_LEVELS = 9
_TERMS = frozenset(
    {
        "ch",
        "ch_mult",
        "num_res_blocks",
        "attn_resolutions",
        "resolution",
        "in_channels",
        "out_ch",
        "z_channels",
        "double_z",
        "dropout",
        "norm_groups",
    }
)
_ONLY: dict[str, Any] = {
    "resamp_with_conv": True,
    "tanh_out": False,
    "give_pre_end": False,
    "use_linear_attn": False,
    "attn_type": "vanilla",
}
"""Terms of which the published networks use one value, and this code has only that one."""
_IGNORED = frozenset(
    {"lossconfig", "monitor", "ckpt_path", "ignore_keys", "image_key", "colorize_nlabels"}
)
"""Terms of the whole model that concern its training."""


@dataclass(frozen=True, slots=True)
class TrunkSizes:
    """One convolutional encoder and its decoder; level 0 has the image's own resolution."""

    in_channels: int
    out_channels: int
    z_channels: int
    ch: int
    """Width of level 0 before its multiplier."""
    ch_mult: tuple[int, ...]
    """Widths of the levels, in units of `ch`; each level but the last halves the side."""
    num_res_blocks: int
    """Per level of the encoder; the decoder has one more."""
    double_z: bool = False
    """The encoder gives mean and log-variance, so twice `z_channels`."""
    encoder_attention: frozenset[int] = frozenset()
    """Levels whose residual blocks are each followed by attention."""
    decoder_attention: frozenset[int] = frozenset()
    dropout: float = 0.0
    """In training."""
    norm_groups: int = NORM_GROUPS
    """Groups of every group norm. Not one of upstream's terms: narrow networks need fewer, because
    a group of one channel loses that channel's mean, and with it brightness and colour."""

    def __post_init__(self) -> None:
        """Refuse sizes that no network can have."""
        for name in (
            "in_channels",
            "out_channels",
            "z_channels",
            "ch",
            "num_res_blocks",
            "norm_groups",
        ):
            require_count(name, getattr(self, name))
        if not 1 <= len(self.ch_mult) <= _MOST_LEVELS or not all(map(is_count, self.ch_mult)):
            message = (
                f"ch_mult must be 1 to {_MOST_LEVELS} integers of at least 1, not "
                f"{list(self.ch_mult)}"
            )
            raise UsageError(message)
        for width in (self.ch, *self.widths):
            if width % self.norm_groups:
                message = (
                    f"every width (ch, and ch times each of ch_mult) must be a multiple of "
                    f"{self.norm_groups}, the groups of the normalisation: got {width}"
                )
                raise UsageError(message)
        if not isinstance(self.dropout, int | float) or not 0 <= self.dropout < 1:
            message = f"dropout must be from 0 to below 1, not {self.dropout!r}"
            raise UsageError(message)

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of each level."""
        return tuple(self.ch * factor for factor in self.ch_mult)

    @property
    def downsample(self) -> int:
        """Pixels per latent cell along one side."""
        return 2 ** (len(self.ch_mult) - 1)

    @property
    def cells(self) -> int:
        """Latent cells of an image of side `BENCHMARK_SIDE`."""
        return (BENCHMARK_SIDE // self.downsample) ** 2

    @classmethod
    def from_ddconfig(cls, terms: Any) -> TrunkSizes:
        """Read upstream's `ddconfig`.

        Attention stands where the configured `resolution`, halved level by level and rounded
        down, is in `attn_resolutions`; the decoder counts back up from the last level's.

        Raises:
            UsageError: a term is missing, unknown or impossible.
        """
        if not isinstance(terms, Mapping):
            message = f"'ddconfig' must hold the sizes of encoder and decoder, not {terms!r}"
            raise UsageError(message)
        refuse_unknown(terms, _TERMS | set(_ONLY))
        needed = _TERMS - {"dropout", "double_z", "in_channels", "out_ch", "norm_groups"}
        if absent := sorted(needed - set(terms)):
            message = f"'ddconfig' lacks {', '.join(absent)}"
            raise UsageError(message)
        for name, only in _ONLY.items():
            if terms.get(name, only) != only:
                message = f"{name} must be {only!r}, as in every published network: {terms[name]!r}"
                raise UsageError(message)
        require_count("resolution", terms["resolution"])
        levels = len(require_counts("ch_mult", terms["ch_mult"]))
        wanted = set(require_counts("attn_resolutions", terms["attn_resolutions"]))
        lowest = terms["resolution"] // 2 ** max(levels - 1, 0)
        going_down = {i: terms["resolution"] // 2**i for i in range(levels)}
        going_up = {i: lowest * 2 ** (levels - 1 - i) for i in range(levels)}
        return cls(
            in_channels=terms.get("in_channels", 3),
            out_channels=terms.get("out_ch", 3),
            z_channels=terms["z_channels"],
            ch=terms["ch"],
            ch_mult=require_counts("ch_mult", terms["ch_mult"]),
            num_res_blocks=terms["num_res_blocks"],
            double_z=require_flag("double_z", terms.get("double_z", False)),
            encoder_attention=frozenset(i for i, side in going_down.items() if side in wanted),
            decoder_attention=frozenset(i for i, side in going_up.items() if side in wanted),
            dropout=terms.get("dropout", 0.0),
            norm_groups=terms.get("norm_groups", NORM_GROUPS),
        )


@dataclass(frozen=True, slots=True)
class VQGANConfig:
    """taming's `VQModel`: a trunk, a codebook, and the 1×1 convolutions around it."""

    trunk: TrunkSizes
    n_embed: int
    """Codes."""
    embed_dim: int
    """Dimensions of a code."""
    gumbel: bool = False
    """`GumbelVQ`: codes are chosen by a learned projection instead of the distance."""

    def __post_init__(self) -> None:
        """Refuse combinations that cannot be built."""
        require_count("n_embed", self.n_embed)
        require_count("embed_dim", self.embed_dim)
        _require_image_channels(self.trunk)
        if self.n_embed < 2:
            message = f"n_embed must be at least 2, not {self.n_embed}"
            raise UsageError(message)
        if self.trunk.double_z:
            message = "double_z must be false: a VQGAN's encoder gives no variance"
            raise UsageError(message)
        if self.gumbel and self.embed_dim != self.trunk.z_channels:
            message = (
                f"a GumbelVQ needs embed_dim ({self.embed_dim}) equal to z_channels "
                f"({self.trunk.z_channels})"
            )
            raise UsageError(message)

    @property
    def bits_per_image(self) -> float:
        """Nominal bits of the codes at `BENCHMARK_SIDE`."""
        return code_bits(1, self.trunk.cells, self.n_embed)

    @classmethod
    def from_mapping(cls, terms: Mapping[str, Any]) -> VQGANConfig:
        """Read the terms of `VQModel` or, with `temperature_scheduler_config`, of `GumbelVQ`.

        Raises:
            UsageError: a term is missing, unknown or impossible.
        """
        own = {"ddconfig", "n_embed", "embed_dim", "remap", "sane_index_shape"}
        own |= {"temperature_scheduler_config", "kl_weight"}
        _check_terms(terms, own, needed=("ddconfig", "n_embed", "embed_dim"))
        if terms.get("remap") is not None:
            message = "remap must be absent: codes are counted in the checkpoint's own codebook"
            raise UsageError(message)
        return cls(
            trunk=TrunkSizes.from_ddconfig(terms["ddconfig"]),
            n_embed=terms["n_embed"],
            embed_dim=terms["embed_dim"],
            gumbel="temperature_scheduler_config" in terms,
        )


@dataclass(frozen=True, slots=True)
class MedVAEConfig:
    """MedVAE's two-dimensional `AutoencoderKL_2D`."""

    trunk: TrunkSizes
    embed_dim: int
    """Channels of the latent."""
    lora_rank: int | None = None
    """Rank of the adapters that the checkpoint keeps beside its convolutions; None: it has none."""
    apply_channel_ds: bool = True
    """The latent has the projection that was trained to agree with BiomedCLIP."""

    def __post_init__(self) -> None:
        """Refuse combinations that cannot be built."""
        require_count("embed_dim", self.embed_dim)
        if self.lora_rank is not None:
            require_count("lora_rank", self.lora_rank)
        require_flag("apply_channel_ds", self.apply_channel_ds)
        _require_image_channels(self.trunk)
        if not self.trunk.double_z:
            message = "double_z must be true: a MedVAE's encoder gives mean and log-variance"
            raise UsageError(message)

    def bits_per_image(self, passes: int = 1) -> float:
        """Nominal bits at `BENCHMARK_SIDE` of so many passes, one per colour channel or one."""
        return float(passes * self.embed_dim * self.trunk.cells * BITS_PER_LATENT_VALUE)

    @classmethod
    def from_mapping(cls, terms: Mapping[str, Any]) -> MedVAEConfig:
        """Read the terms of `AutoencoderKL_2D`, and `lora_rank`.

        Raises:
            UsageError: a term is missing, unknown or impossible.
        """
        own = {"ddconfig", "embed_dim", "lora_rank", "apply_channel_ds", "state_dict"}
        _check_terms(terms, own, needed=("ddconfig", "embed_dim"))
        return cls(
            trunk=TrunkSizes.from_ddconfig(terms["ddconfig"]),
            embed_dim=terms["embed_dim"],
            lora_rank=terms.get("lora_rank"),
            apply_channel_ds=terms.get("apply_channel_ds", True),
        )


def _require_image_channels(trunk: TrunkSizes) -> None:
    if trunk.in_channels not in {1, 3} or trunk.out_channels != trunk.in_channels:
        message = (
            "in_channels and out_ch must both be 3 (colour) or both 1 (brightness): "
            f"{trunk.in_channels} and {trunk.out_channels}"
        )
        raise UsageError(message)


def _check_terms(terms: Mapping[str, Any], own: set[str], *, needed: tuple[str, ...]) -> None:
    if not isinstance(terms, Mapping):
        message = f"a configuration must be a mapping of terms, not {terms!r}"
        raise UsageError(message)
    refuse_unknown(terms, own | _IGNORED)
    if absent := [name for name in needed if name not in terms]:
        message = f"the configuration lacks {', '.join(absent)}"
        raise UsageError(message)

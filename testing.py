"""What tests of an adapter need, in one place: `import medbench.testing`.

The conformance rules as one call, weights that follow from their keys, and the quantisers,
training losses, schedules and discriminator heads by name.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

    from .harness.conformance import ConformanceReport
    from .harness.deterministic import deterministic_weights, weights_of_case
    from .harness.protocol import Tokenizer

__all__ = [
    "LOSSES",
    "QUANTIZERS",
    "assert_conforms",
    "deterministic_weights",
    "discriminator_heads",
    "learning_rate",
    "loss",
    "quantizer",
    "weights_of_case",
]

_LAZY = {
    "deterministic_weights": "medbench.harness.deterministic",
    "weights_of_case": "medbench.harness.deterministic",
}

QUANTIZERS: Mapping[str, str] = {
    "multicodebook": "MedITok and UniTok: codebooks of unit vectors side by side",
    "taming": "VQGAN and Emu3-VQ: nearest code by squared distance",
    "tokenflow": "TokenFlow: a semantic and a pixel book with one index",
    "llamagen": "LlamaGen: one book of unit vectors",
}
"""Quantisers that `quantizer` builds, and whose they are."""

LOSSES: Mapping[str, str] = {
    "contrastive": "medbench.harness.training.losses:contrastive_loss",
    "cosine": "medbench.harness.training.losses:cosine_loss",
    "real": "medbench.harness.training.losses:real_loss",
    "fake": "medbench.harness.training.losses:fake_loss",
}
"""Losses that `loss` returns; `real` and `fake` take a kind: hinge, softplus or linear."""


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'medbench.testing' has no attribute {name!r}")
    return getattr(importlib.import_module(_LAZY[name]), name)


def assert_conforms(tokenizer: Tokenizer) -> ConformanceReport:
    """Run every rule of the protocol on a tokenizer.

    Raises:
        AssertionError: a rule is broken; the message lists every check with what it measured.
    """
    from .harness.conformance import validate
    from .harness.device import repeatable_arithmetic

    with repeatable_arithmetic():
        report = validate(tokenizer)
    if not report.passed:
        raise AssertionError("\n".join(report.lines()))
    return report


def quantizer(name: str, config: Mapping[str, Any]) -> nn.Module:
    """A quantiser by name, in the terms of its upstream constructor.

    Its `state_dict` has upstream's keys; calling it on a latent gives an object with `zq`,
    `indices` and `vq_loss`, and with `commit_loss` and `entropy_loss` where it has them.

    Args:
        name: one of `QUANTIZERS`.
        config: multicodebook: `vocab_size`, `vocab_width`, `num_codebooks`, optional `beta`,
            `use_entropy_loss`, `entropy_temp`; taming: `n_e`, `e_dim`, optional `beta`, `legacy`;
            llamagen: `n_e`, `e_dim`, tokenflow: `n_e`, `split`, both with optional `beta`,
            `entropy_loss_ratio` and `l2_norm` (only true is implemented).

    Raises:
        UsageError: unknown name or term.
    """
    from .harness.errors import UsageError
    from .harness.registry import unknown

    if name not in _BUILDERS:
        raise unknown("quantizer", name, _BUILDERS, listing="medbench.testing.QUANTIZERS")
    terms = dict(config)
    if terms.pop("l2_norm", True) is not True:
        message = f"quantizer {name!r}: l2_norm false is not implemented: no tokenizer uses it"
        raise UsageError(message)
    try:
        return _BUILDERS[name](**terms)
    except TypeError as error:
        message = f"quantizer {name!r}: {error}; see medbench.testing.quantizer"
        raise UsageError(message) from error


def _multicodebook(
    vocab_size: int,
    vocab_width: int,
    num_codebooks: int,
    *,
    beta: float = 0.25,
    use_entropy_loss: bool = False,
    entropy_temp: float = 0.01,
) -> nn.Module:
    from .tokenizers.quantizer import MultiCodebookQuantizer

    temperature = entropy_temp if use_entropy_loss else None
    return MultiCodebookQuantizer(
        vocab_size, vocab_width, num_codebooks, beta=beta, entropy_temperature=temperature
    )


def _taming(n_e: int, e_dim: int, *, beta: float = 0.25, legacy: bool = True) -> nn.Module:
    from .baselines.taming_quantizer import VectorQuantizer

    return VectorQuantizer(n_e, e_dim, beta=beta, legacy=legacy)


def _tokenflow(
    n_e: int, split: tuple[int, int], *, beta: float = 1.0, entropy_loss_ratio: float = 0.0
) -> nn.Module:
    from .baselines.tokenflow_quantizer import SharedQuantizer

    semantic, pixel = split
    return SharedQuantizer(n_e, (semantic, pixel), beta=beta, entropy_ratio=entropy_loss_ratio)


def _llamagen(
    n_e: int, e_dim: int, *, beta: float = 0.25, entropy_loss_ratio: float = 0.0
) -> nn.Module:
    from .baselines.llamagen_quantizer import UnitQuantizer

    return UnitQuantizer(n_e, e_dim, beta=beta, entropy_ratio=entropy_loss_ratio)


_BUILDERS: Mapping[str, Callable[..., nn.Module]] = {
    "multicodebook": _multicodebook,
    "taming": _taming,
    "tokenflow": _tokenflow,
    "llamagen": _llamagen,
}


def loss(name: str) -> Callable[..., Any]:
    """A training loss by name, as a function of tensors.

    Raises:
        UsageError: unknown name.
    """
    from .harness.registry import load_target, unknown

    if name not in LOSSES:
        raise unknown("loss", name, LOSSES, listing="medbench.testing.LOSSES")
    return load_target(LOSSES[name])


def learning_rate(shape: str, step: int, **settings: float) -> float:
    """The learning rate of a step counted from 0.

    Args:
        shape: as for `harness.training.schedule.WarmupDecay`.
        step: from 0.
        settings: `base`, `steps`, and optionally `warmup_steps`, `start_fraction` and
            `final_fraction`.
    """
    from .harness.training.schedule import WarmupDecay

    return WarmupDecay(shape=shape, **settings).rate(step)  # type: ignore[arg-type]


def discriminator_heads(
    dim: int,
    heads: int,
    *,
    kernel_size: int = 9,
    norm: str = "gn",
    norm_eps: float = 1e-6,
) -> nn.Module:
    """The discriminator's trainable heads, in upstream's terms and keys.

    See `tokenizers.discriminator.DiscriminatorHeads`.
    """
    from .tokenizers.discriminator import DiscriminatorHeads

    return DiscriminatorHeads(dim, heads, kernel=kernel_size, norm=norm, eps=norm_eps)  # type: ignore[arg-type]

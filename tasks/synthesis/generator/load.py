"""Building a generator: from weights, or with starting weights that follow from a seed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ....harness.documents import load_json
from ....harness.errors import UsageError
from ....harness.weights import load_into, read_state_dict, unwrap
from .config import GeneratorConfig, read_config
from .network import Generator

_PREFERRED = ("model", "module", "state_dict")
"""Upstream's wrappers, in the order in which it reads them."""
_INITIAL_SPREAD = 0.02


def load_generator(
    *,
    config: Mapping[str, Any] | Path | str,
    weights: Mapping[str, Tensor] | Path | str,
    device: str = "cpu",
) -> Generator:
    """A generator with weights, ready to sample.

    Args:
        config: upstream's terms (`dim`, `n_layer`, `vocab_size`, `num_codebooks` ...; see
            `GeneratorConfig`), or a JSON file that holds them.
        weights: a checkpoint file, or a state dict in upstream's keys.
        device: torch device.

    Raises:
        UsageError: the configuration or the weights are wrong, or do not fit together.
    """
    if not isinstance(config, Mapping):
        config = _read_json(Path(config))
    if isinstance(weights, Mapping):
        name, state = "the generator's weights", unwrap(weights, name="the generator's weights")
    else:
        name, state = f"the generator {weights}", read_state_dict(Path(weights), prefer=_PREFERRED)
    with torch.device("meta"):  # nothing is drawn that is replaced anyway
        network = Generator(read_config(config))
    # Upstream keeps the rotary table in some checkpoints; it follows from the configuration.
    load_into(network, state, name=name, allow_unexpected=(r"freqs_cis$",))
    return network.to(device).eval()


def _read_json(path: Path) -> Mapping[str, Any]:
    try:
        terms = load_json(path)
    except (OSError, ValueError) as error:
        message = f"cannot read the generator's configuration {path}: {error}"
        raise UsageError(message) from error
    if not isinstance(terms, dict):
        message = f"{path} must hold the generator's configuration as a JSON object"
        raise UsageError(message)
    return terms


def new_generator(config: GeneratorConfig, *, seed: int) -> Generator:
    """A generator to be trained: normal starting weights, and a head that says nothing yet."""
    network = Generator(config)
    source = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                module.weight.normal_(0.0, _INITIAL_SPREAD, generator=source)
            if isinstance(module, nn.Linear) and module.bias is not None:
                module.bias.zero_()
        head = network.output
        last = head if isinstance(head, nn.Linear) else head.linear_head
        last.weight.zero_()
    return network

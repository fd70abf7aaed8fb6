"""The starting weights of a MedITok network that is trained from scratch.

Encoder: timm's own. Decoder and projections: truncated normal of 0.02 for linear layers, Xavier
normal with gain 0.5 for convolutions, unit norms. Codebooks: uniform in ± D^-½ / 36, D the width
of a code (only the direction matters).
"""

from __future__ import annotations

import torch
from torch import nn

from .meditok_config import MedITokConfig
from .meditok_model import MedITokModel


def build_from_scratch(config: MedITokConfig, *, seed: int, causal: bool = True) -> MedITokModel:
    """A network in training mode on the CPU whose weights follow from `seed` alone.

    The random state of the process is left as it was.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = MedITokModel(config, causal=causal)
        for part in (model.quant_proj, model.post_quant_proj, model.decoder):
            part.apply(_initialise_layer)
        bound = config.code_width**-0.5 / 36
        for book in model.quantizer.books:
            nn.init.uniform_(book.codebook.weight, -bound, bound)
    return model.train()


def _initialise_layer(layer: nn.Module) -> None:
    if isinstance(layer, nn.Linear):
        nn.init.trunc_normal_(layer.weight, std=0.02)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
    elif isinstance(layer, nn.Conv2d):
        nn.init.xavier_normal_(layer.weight, gain=0.5)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
    elif isinstance(layer, nn.LayerNorm):
        nn.init.ones_(layer.weight)
        nn.init.zeros_(layer.bias)

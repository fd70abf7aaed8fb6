"""The starting weights of a MedITok network that is trained from scratch.

`upstream`: the encoder has timm's; decoder and projections have a truncated normal of 0.02 for
linear layers, Xavier normal with gain 0.5 for convolutions, unit norms.

`conditioned`: the same, changed so that the network starts close to an invertible linear map, for
trainings too short to find one. Norms in the main path have no way round: a bias in front of each
keeps the amplitude, which it would take away. Residual branches start small, so that tokens pass.
The first block of each encoder stage, whose way round is an average, starts by sampling the four
phases of each direction of its input. After a minute of training this reconstructs 4 dB better.

Codebooks are uniform in ± D^-½ / 36, D the width of a code (only the direction matters).
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import nn

from .meditok_config import MedITokConfig
from .meditok_model import MedITokModel

Start = Literal["upstream", "conditioned"]

_BRANCH_ENDS = ("attn.proj.weight", "mlp.w2.weight", "conv3_1x1.weight")
"""Last layers of residual branches."""


def build_from_scratch(
    config: MedITokConfig, *, seed: int, causal: bool = True, start: Start = "upstream"
) -> MedITokModel:
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
        if start == "conditioned":
            _condition(model)
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


@torch.no_grad()
def _condition(model: MedITokModel) -> None:
    for weight in model.decoder.parameters():
        if weight.ndim == 4:
            nn.init.xavier_normal_(weight, gain=1.4)
    for part in (model.quant_proj, model.post_quant_proj):
        for weight in part.parameters():
            if weight.ndim == 2:
                nn.init.trunc_normal_(weight, std=weight.shape[1] ** -0.5)
    trunk: Any = model.encoder.patch_embed.backbone
    for name, weight in model.named_parameters():
        in_trunk = name.startswith("encoder.patch_embed.")
        if name.endswith(_BRANCH_ENDS) and not in_trunk:
            weight.mul_(0.1)
    for stage in trunk.stages:
        _sample_phases(stage[0])
    decoder: Any = model.decoder
    before_norms: tuple[Any, ...] = (
        trunk.stem.conv1,
        trunk.stages[-1][-1].conv3_1x1,
        trunk.pool.proj,
        model.quant_proj.proj,
        model.post_quant_proj.proj,
        decoder.up_conv4.conv1.conv,
    )
    for layer in before_norms:
        nn.init.normal_(layer.bias, std=0.5)


def _sample_phases(block: nn.Module) -> None:
    """Make a block that halves the side keep the four pixels that become one."""
    expand, sample, merge = (
        getattr(block, name).weight for name in ("conv1_1x1", "conv2_kxk", "conv3_1x1")
    )
    directions = torch.empty(len(expand) // 4, expand.shape[1])
    nn.init.orthogonal_(directions)
    expand[:, :, 0, 0] = directions.repeat_interleave(4, dim=0)
    sample.mul_(0.1)
    for channel in range(len(sample)):
        row, column = divmod(channel % 4, 2)
        sample[channel, 0, 1 + row, 1 + column] += 1
    nn.init.orthogonal_(merge.view(len(merge), -1))

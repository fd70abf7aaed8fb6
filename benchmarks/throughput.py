"""Images per second of every tokenizer against the library or upstream's formulation.

Each pair holds the same weights and must give the same numbers before it is timed. The two take
turns on one thread; CPU seconds count, and the median over the rounds.

    python benchmarks/throughput.py [--official] [--rounds N] [--only NAME …]

`--official` runs the published sizes (minutes, 8 GB); without it widths are halved or so, while
depth, resolution and codebooks stay.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import Any
from unittest.mock import patch

import peer_libraries as peers
import torch
import torch.nn.functional as F
from tabulate import tabulate
from torch import Tensor

import medbench
from medbench.baselines import (
    emu3_pumit_catalogue,
    taming_catalogue,
    tokenflow_catalogue,
    tokenflow_quantizer,
)
from medbench.baselines.emu3_config import Emu3Config
from medbench.baselines.emu3_model import Emu3Model
from medbench.baselines.medvae_model import MedVAEModel
from medbench.baselines.pumit_config import PUMITConfig
from medbench.baselines.pumit_model import PUMITModel
from medbench.baselines.taming_config import MedVAEConfig, VQGANConfig
from medbench.baselines.tokenflow_config import TokenFlowConfig
from medbench.baselines.tokenflow_model import TokenFlowModel
from medbench.baselines.vqgan_model import VQGANModel
from medbench.harness.protocol import Encoding
from medbench.testing import deterministic_weights
from medbench.tokenizers import catalogue as meditok_catalogue
from medbench.tokenizers import quantizer, vitamin_decoder
from medbench.tokenizers.meditok_config import MedITokConfig
from medbench.tokenizers.meditok_model import MedITokModel

Settings = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Contest:
    """A tokenizer and its peer, on the same weights."""

    ours: Any
    peer: str
    encode: Callable[[Tensor], Tensor]
    """Images in [-1, 1] -> the peer's indices (any shape), or latents of a continuous one."""
    decode: Callable[[Encoding], Tensor]
    """What our tokenizer encoded -> the peer's images about [-1, 1]."""
    images: int = 1


def _weights(model: type, config: object, **options: Any) -> dict[str, Tensor]:
    with torch.device("meta"):
        network = model(config, **options)
    return deterministic_weights(network)


def _narrower(config: Settings, official: bool) -> Settings:
    half = config["ddconfig"] | {"ch": config["ddconfig"]["ch"] // 2}
    return config if official else config | {"ddconfig": half}


def _vqgan(official: bool) -> Contest:
    config = _narrower(taming_catalogue.VQGAN_F8_CONFIG, official)
    weights = _weights(VQGANModel, VQGANConfig.from_mapping(config))
    library = peers.vq_model(config, weights)
    return Contest(
        medbench.load_tokenizer("vqgan", config=config, weights=weights),
        "diffusers VQModel",
        lambda x: library.quantize(library.encode(x).latents)[2][2],
        lambda e: library.decode(e.latents, force_not_quantize=True).sample,
    )


def _medvae(official: bool) -> Contest:
    config = _narrower(taming_catalogue.MEDVAE_8_1_CONFIG, official)
    weights = _weights(MedVAEModel, MedVAEConfig.from_mapping(config))
    library = peers.autoencoder_kl(config, weights)
    return Contest(
        medbench.load_tokenizer("medvae", config=config, weights=weights),
        "diffusers AutoencoderKL",
        lambda x: library.encode(x[:, :1]).latent_dist.mode(),
        lambda e: library.decode(e.latents).sample.expand(-1, 3, -1, -1),
    )


def _emu3(official: bool) -> Contest:
    config = dict(emu3_pumit_catalogue.EMU3_CONFIG) | ({} if official else {"ch": 64})
    weights = _weights(Emu3Model, Emu3Config.from_mapping(config))
    library = peers.emu3(config, weights)
    return Contest(
        medbench.load_tokenizer("emu3-vq", config=config, weights=weights),
        "transformers Emu3VQVAE",
        lambda x: torch.stack(library.encode(x, torch.tensor([x.shape[2:]] * len(x))).image_tokens),
        lambda e: library.decode(e.indices.unflatten(2, e.latents.shape[2:]).squeeze(1)),
    )


def _tokenflow(official: bool) -> Contest:
    config = tokenflow_catalogue.OFFICIAL_CONFIG
    if not official:
        sizes = {"ch": 64, "dec_ch": 64, "dec_nres": 2, "clip_layers": 6}
        config = config | {"sizes": sizes}
    weights = _weights(TokenFlowModel, TokenFlowConfig.from_mapping(config))
    ours = medbench.load_tokenizer("tokenflow", config=config, weights=weights)
    plain = patch.object(tokenflow_quantizer, "nearest_code", peers.nearest_by_distances)
    return Contest(
        ours,
        "plain quantiser loop and doubling",
        lambda x: _within(plain, lambda: ours.model.encode(x).indices),
        lambda e: _within(_plain_doubling(), lambda: ours.model.decode_image(e.latents)),
    )


def _vitamin(name: str, official: bool) -> Contest:
    config = dict(meditok_catalogue.OFFICIAL_CONFIG) | (
        {} if official else {"model": "vitamin_base"}
    )
    causal = name == "meditok"
    weights = _weights(MedITokModel, MedITokConfig.from_mapping(config), causal=causal)
    weights["encoder.pos_embed"].zero_()  # as published; timm's network has none
    ours = medbench.load_tokenizer(name, config=config, weights=weights)
    encoder = peers.vitamin(config["model"], weights)
    plain = patch.object(quantizer, "nearest_code", peers.nearest_by_distances)

    def encode(x: Tensor) -> Tensor:
        latent = ours.model.quant_proj(encoder(x))
        return _within(plain, lambda: ours.model.quantizer.encode(latent))

    def decode(encoding: Encoding) -> Tensor:
        latent = ours.model.quantizer.look_up(encoding.indices)
        return _within(_plain_doubling(), lambda: ours.model.decode_latent(latent, (16, 16)))

    return Contest(ours, "timm ViTamin, plain quantiser and doubling", encode, decode)


def _pumit(official: bool) -> Contest:
    del official  # the published network is small
    config = emu3_pumit_catalogue.PUMIT_CONFIG
    weights = _weights(PUMITModel, PUMITConfig.from_mapping(config), dimensions=3)
    ours = medbench.load_tokenizer("pumit", config=config, weights=weights)
    return Contest(
        ours,
        "its own network for volumes",
        lambda x: ours.encode_volume((x.unsqueeze(2) + 1) / 2, 5).latents,
        lambda e: (
            ours.decode_volume(Encoding(latents=e.latents.unsqueeze(2)), 5).squeeze(2) * 2 - 1
        ),
        images=4,
    )


CONTESTS: Mapping[str, Callable[[bool], Contest]] = {
    "vqgan": _vqgan,
    "medvae": _medvae,
    "emu3-vq": _emu3,
    "tokenflow": _tokenflow,
    "meditok": partial(_vitamin, "meditok"),
    "unitok": partial(_vitamin, "unitok"),
    "pumit": _pumit,
}


def _within(context: AbstractContextManager[Any], run: Callable[[], Tensor]) -> Tensor:
    with context:
        return run()


def _plain_doubling() -> AbstractContextManager[Any]:
    """Nearest-neighbour doubling and a 3×3 convolution, one after the other."""

    def forward(layer: Any, x: Tensor) -> Tensor:
        return layer.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))

    return patch.object(vitamin_decoder.Upsample, "forward", forward)


def race(forms: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median CPU seconds of each form; they take turns, after one round that does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in forms}
    for turn in range(rounds + 1):
        for name, form in forms.items():
            begun = time.process_time()
            form()
            if turn:
                seconds[name].append(time.process_time() - begun)
    return {name: statistics.median(values) for name, values in seconds.items()}


def measure(name: str, *, official: bool, rounds: int) -> list[list[str]]:
    """Two rows of the table: encoding and decoding."""
    contest = CONTESTS[name](official)
    ours = contest.ours
    # Grey, so that a network of one channel sees what the others see.
    grey = torch.rand(contest.images, 1, 256, 256, generator=torch.Generator().manual_seed(0))
    images = grey.expand(-1, 3, -1, -1).contiguous()
    x = images * 2 - 1
    encoding = ours.encode(images)
    agreement = _agreement(ours, encoding, contest.encode(x))
    difference = float((ours.decode(encoding) * 2 - 1 - contest.decode(encoding)).abs().max())
    rows = []
    for what, mine, theirs, remark in (
        ("encode", lambda: ours.encode(images), lambda: contest.encode(x), agreement),
        (
            "decode",
            lambda: ours.decode(encoding),
            lambda: contest.decode(encoding),
            f"largest difference {difference:.0e}",
        ),
    ):
        seconds = race({"ours": mine, "peer": theirs}, rounds)
        rates = [f"{contest.images / seconds[form]:.3f}" for form in ("ours", "peer")]
        ratio = f"{seconds['peer'] / seconds['ours']:.2f}"
        rows.append([name, what, *rates, ratio, contest.peer, remark])
    return rows


def _agreement(ours: Any, encoding: Encoding, theirs: Tensor) -> str:
    if ours.info.kind == "discrete":
        share = (theirs.reshape(encoding.indices.shape) == encoding.indices).float().mean()
        return f"{float(share):.2%} equal codes"
    found = encoding.latents
    return f"largest difference {float((theirs.reshape(found.shape) - found).abs().max()):.0e}"


def measure_search(rounds: int) -> list[list[str]]:
    """The search of 8 books of 4096 codes of 8 dimensions, for 32 images of 256 positions."""
    generator = torch.Generator().manual_seed(0)
    found = quantizer.MultiCodebookQuantizer(8 * 4096, 64, 8)
    found.load_state_dict(deterministic_weights(found))
    z = torch.randn(32, 256, 64, generator=generator)
    chunks = found.chunks(z).permute(2, 0, 1, 3).flatten(1, 2).contiguous()
    codes = torch.stack([book.unit_codes() for book in found.books]).detach()

    def by_book() -> Tensor:
        return torch.stack(
            [peers.nearest_by_distances(*pair) for pair in zip(chunks, codes, strict=True)]
        )

    def by_einsum() -> Tensor:
        products = torch.einsum("knd,kvd->knv", chunks, codes)
        squares = chunks.square().sum(2, keepdim=True) + codes.square().sum(2).unsqueeze(1)
        return (squares - 2 * products).argmin(2)

    forms = {
        "medbench": lambda: found.encode(z),
        "distance matrix and argmin, book by book": by_book,
        "three-term einsum, all books": by_einsum,
    }
    exact = torch.einsum("knd,kvd->knv", chunks[:, :64].double(), codes.double()).argmax(2)
    first = found.encode(z).transpose(0, 1).flatten(1)[:, :64]
    seconds = race(forms, rounds)
    rows = [[n, f"{s:.3f}", f"{s / seconds['medbench']:.2f}"] for n, s in seconds.items()]
    rows[0].append(f"{float((first == exact).float().mean()):.2%} of a sample as in float64")
    return rows


@torch.no_grad()
def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--official", action="store_true")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="*", choices=[*CONTESTS, "search"])
    options = parser.parse_args()
    torch.set_num_threads(1)
    wanted = options.only or [*CONTESTS, "search"]
    rows = []
    for name in wanted:
        if name in CONTESTS:
            rows += measure(name, official=options.official, rounds=options.rounds)
    if rows:
        headers = ["tokenizer", "", "images/s", "peer", "ratio", "which", "agreement"]
        print(tabulate(rows, headers=headers, tablefmt="simple", disable_numparse=True), "\n")
    if "search" in wanted:
        headers = ["search, 8 x 4096 x 8, 8192 positions", "CPU s", "form / medbench", ""]
        rows = measure_search(options.rounds)
        print(tabulate(rows, headers=headers, tablefmt="simple", disable_numparse=True), "\n")


if __name__ == "__main__":
    main()

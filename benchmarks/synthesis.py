"""What makes synthesis affordable: all-pairs diversity, the KV cache, and the cache of codes.

python benchmarks/synthesis.py [--images 100]
"""

from __future__ import annotations

import argparse
import importlib.util
import tempfile
from functools import partial
from pathlib import Path
from unittest import mock

import numpy as np
import pytorch_msssim
import torch
from scipy.ndimage import gaussian_filter
from timing import compare

import medbench
from medbench.harness.metrics.diversity import pair_scores
from medbench.harness.metrics.ssim import GAUSSIAN_WINDOW
from medbench.tasks.synthesis.generator.blocks import Attention, Cache, rotate
from medbench.tasks.synthesis.generator.config import read_config
from medbench.tasks.synthesis.generator.draws import choose, image_numbers
from medbench.tasks.synthesis.generator.heads import Choose, CodeHead
from medbench.tasks.synthesis.generator.load import new_generator
from medbench.tasks.synthesis.generator.network import Generator
from medbench.tasks.synthesis.generator.sampling import Sampling
from medbench.tasks.synthesis.recipe import GeneratorRecipe

BATCH = 16
SAMPLED = 4
WORST = 50
"""Pairs that are looked at more closely: those where two libraries differ most."""
NETWORK = {"dim": 128, "n_layer": 4, "n_head": 4, "multiple_of": 64, "num_classes": 9}


def diversity(count: int) -> None:
    """All pairs of smooth random images, against pytorch-msssim pair by pair."""
    rng = np.random.default_rng(0)
    noise = [
        gaussian_filter(rng.normal(size=(256, 256, 3)), (1 + i % 9,) * 2 + (0,))
        for i in range(count)
    ]
    images = np.stack([(n - n.min()) / np.ptp(n) * 255 for n in noise]).astype(np.uint8)
    x = torch.from_numpy(images).permute(0, 3, 1, 2).float()
    found: dict[str, np.ndarray] = {}

    def peer() -> None:
        found["peer"] = np.array(
            [
                float(pytorch_msssim.ms_ssim(x[i : i + 1], x[j : j + 1], data_range=255))
                for i in range(count)
                for j in range(i + 1, count)
            ]
        )

    def ours(name: str, many: float) -> None:
        with mock.patch("medbench.harness.metrics.diversity._MANY", many):
            found[name] = pair_scores(images)

    pairs = count * (count - 1) // 2
    forms = {"pytorch-msssim": peer, "medbench": partial(ours, "medbench", np.inf)}
    if importlib.util.find_spec("numba"):
        forms["medbench[fast]"] = partial(ours, "medbench[fast]", 1)  # compiling included
    compare(f"diversity, {pairs} pairs", forms, peer="pytorch-msssim", rounds=1)
    for name in list(forms)[1:]:
        difference = np.abs(found[name] - found["peer"])
        print(f"largest difference of {name} to pytorch-msssim {difference.max():.1e}")
    # pytorch-msssim's window is rounded to float32, also for images in float64, and adds up to
    # 1 - 6e-8: beside the square of a bright pixel this is the largest error of all.
    worst = np.argsort(np.abs(found["medbench"] - found["peer"]))[-WORST:]
    first, second = (each[worst] for each in np.triu_indices(count, 1))
    wide = x.double()
    window = torch.tensor(GAUSSIAN_WINDOW, dtype=torch.float64).repeat(3, 1, 1, 1)
    exact = [
        float(pytorch_msssim.ms_ssim(wide[i : i + 1], wide[j : j + 1], data_range=255, win=window))
        for i, j in zip(first, second, strict=True)
    ]
    print(f"on the {len(worst)} pairs where they differ most, against pytorch-msssim in float64")
    print("with a window in float64:")
    for name, values in found.items():
        print(f"largest difference of {name} {np.abs(values[worst] - exact).max():.1e}")
    print()


def sampling() -> None:
    """Codes with the cache, by passes over the whole prefix, and in upstream's form."""
    shape = {"vocab_size": 8 * 4096, "num_codebooks": 8, "block_size": 256}
    generator = new_generator(read_config(NETWORK | shape), seed=0).eval()
    torch.nn.init.normal_(generator.output.linear_head.weight, std=0.2)
    classes = torch.arange(SAMPLED) % 9
    found: dict[str, torch.Tensor] = {}
    forms = {
        "a pass for each code": partial(_without_cache, each_code=True),
        "a pass for each position": _without_cache,
        "upstream's form": _as_upstream,
        "medbench": _drawn,
    }

    def run(name: str) -> None:
        found[name] = forms[name](generator, classes)

    compare(
        f"sampling {SAMPLED} images of 8 x 256 codes",
        {name: partial(run, name) for name in forms},
        peer="a pass for each code",
        rounds=1,
    )
    for name in list(forms)[:3]:
        share = float((found[name] == found["medbench"]).float().mean())
        print(f"codes of `{name}` that are medbench's: {share:.2%}")
    print()


@torch.inference_mode()
def _without_cache(
    generator: Generator, classes: torch.Tensor, *, each_code: bool = False
) -> torch.Tensor:
    """The same draws; each position, or each of its codes, from a pass over all before it."""
    config = generator.config
    numbers = image_numbers(0, range(len(classes)), config.block_size * config.num_codebooks)
    numbers = numbers.unflatten(1, (config.block_size, config.num_codebooks))
    tokens = torch.zeros(len(classes), config.num_codebooks, config.block_size, dtype=torch.int64)
    for place in range(config.block_size):
        passes = config.num_codebooks if each_code else 1
        for _ in range(passes):
            hidden = generator.hidden(classes, tokens[..., : place + 1])[:, -1]
        tokens[:, :, place] = generator.output.draw(
            hidden, lambda book, logits, at=place: choose(logits, numbers[:, at, book], Sampling())
        )
    return tokens


def _as_upstream(generator: Generator, classes: torch.Tensor) -> torch.Tensor:
    """Attention over a cache of full length with a mask; the head's prefix again for each code."""
    with (
        mock.patch.object(Cache, "extend", _extend_whole),
        mock.patch.object(Attention, "forward", _attend_masked),
        mock.patch.object(CodeHead, "draw", _draw_again),
    ):
        return _drawn(generator, classes)


def _drawn(generator: Generator, classes: torch.Tensor) -> torch.Tensor:
    """With no row more than there are images: the other forms have none either."""
    return generator.generate(classes, sampling=Sampling(rows=SAMPLED))


def _extend_whole(cache: Cache, keys: torch.Tensor, values: torch.Tensor) -> tuple:
    if cache._keys is None or cache._values is None:
        shape = (*keys.shape[:2], cache._positions, keys.shape[3])
        cache._keys, cache._values = keys.new_zeros(shape), values.new_zeros(shape)
    cache._keys[:, :, cache._seen] = keys[:, :, 0]
    cache._values[:, :, cache._seen] = values[:, :, 0]
    cache._seen += 1
    return cache._keys, cache._values


def _attend_masked(
    attention: Attention, x: torch.Tensor, turns: torch.Tensor | None, cache: Cache | None
) -> torch.Tensor:
    batch, length, dim = x.shape
    parts = attention.wqkv(x).chunk(3, dim=-1)
    q, k, v = (part.view(batch, length, attention.heads, -1) for part in parts)
    if turns is not None:
        q, k = rotate(q, turns), rotate(k, turns)
    q, k, v = (part.transpose(1, 2) for part in (q, k, v))
    mask = torch.ones(length, length, dtype=torch.bool).tril()
    if cache is not None:
        k, v = cache.extend(k, v)
        mask = (torch.arange(k.shape[2]) < cache._seen)[None]
    mixed = torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    return attention.wo(mixed.transpose(1, 2).reshape(batch, length, dim))


def _draw_again(head: CodeHead, hidden: torch.Tensor, choose_code: Choose) -> torch.Tensor:
    chosen: list[torch.Tensor] = []
    for book in range(len(head.codebooks) + 1):
        x = torch.stack([hidden, *map(torch.nn.Module.__call__, head.codebooks, chosen)], dim=1)
        for layer in head.layers:
            x = layer(x)
        chosen.append(choose_code(book, head.linear_head(head.norm(x[:, -1]))))
    return torch.stack(chosen, dim=1)


def batches() -> None:
    """A training batch from the array of codes, and by encoding its images."""
    tokenizer = medbench.load_tokenizer("meditok")
    info = tokenizer.info
    images = torch.rand(BATCH, 3, 256, 256, generator=torch.Generator().manual_seed(0))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "indices.npy"
        codes = np.random.default_rng(0).integers(
            info.codebook_size, size=(2000, info.codebooks, info.positions)
        )
        np.save(path, codes.astype(np.uint16))
        shape = {
            "vocab_size": info.codebooks * info.codebook_size,
            "num_codebooks": info.codebooks,
            "block_size": info.positions,
        }
        recipe = GeneratorRecipe(
            new_generator(read_config(NETWORK | shape), seed=0),
            np.load(path, mmap_mode="r"),
            np.zeros(2000, np.int64),
            batch_size=BATCH,
        )
        compare(
            f"a batch of {BATCH}",
            {
                "encoding": lambda: tokenizer.encode(images),
                "cache of codes": lambda: recipe.batch(range(BATCH)),
            },
            peer="encoding",
        )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=100, help="of the diversity")
    diversity(parser.parse_args().images)
    sampling()
    batches()


if __name__ == "__main__":
    main()

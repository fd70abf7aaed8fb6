"""Small training configurations of every baseline, made of the shipped presets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any

import pytest

from medbench.harness.training.config_terms import read_fields
from medbench.harness.training.presets import presets, recipe_module
from medbench.harness.training.settings import TrainingSettings
from medbench.harness.training.tokenizer_recipe import TokenizerRecipe

TRUNK = {"ch": 32, "ch_mult": [1, 1, 1, 1], "num_res_blocks": 1}
SMALLER: dict[str, dict[str, Any]] = {
    "vqgan-tiny": {"n_embed": 64, "ddconfig": TRUNK},
    "emu3-vq-tiny": TRUNK | {"codebook_size": 64},
    "medvae-tiny": {"ddconfig": TRUNK},
    "pumit-tiny": {
        "quantize": {"num_embeddings": 32, "embedding_dim": 32},
        "downsample_layer_channels": [8, 16, 32],
        "upsample_layer_channels": [8, 16, 32],
    },
    "tokenflow-tiny": {
        "args": {
            "codebook_size": 64,
            "z_channels": 16,
            "encoder_ch_mult": [1, 1, 1, 1, 1],
            "decoder_ch_mult": [1, 1, 1, 1, 1],
        },
        "sizes": {"dim": 32, "out": 192, "img": 32, "scales": [1, 2], "scales_interp": [1, 2, 4]},
    },
    "unitok-tiny": {
        "embed_dim": 16,
        "vocab_size": 128,
        "vocab_width": 16,
        "num_codebooks": 2,
        "variant": {
            "stem_width": 8,
            "stage_dims": [8, 8, 16],
            "embed_dim": 16,
            "depth": 1,
            "num_heads": 2,
            "decoder_dims": [16, 8, 8],
        },
    },
}
TEACHERLESS = {"tokenflow-tiny": {"teacher": {"name": "random-conv", "stage": None}}}
CHANGES = {
    "zoom": [0.5, 1.6],
    "natural_scale": 0.5,
    **dict.fromkeys(("blend", "grey", "duotone", "invert"), 0.1),
    **dict.fromkeys(("shift", "gamma", "contrast"), 0.4),
}
UNCHANGED = {
    "zoom": [1.0, 1.0],
    "natural_scale": 1.0,
    "turns": False,
    **dict.fromkeys(("blend", "grey", "duotone", "invert", "shift", "gamma", "contrast"), 0.0),
}


def textures(augmentation: Mapping[str, Any]) -> dict[str, Any]:
    pools = [{"source": "textures", "count": 2, "seed": 0, "size": 64}]
    return {"kind": "pools", "pools": pools, "shares": [1.0], "augmentation": augmentation}


SHORT: dict[str, Any] = {
    "settings": {"steps": 40, "threads": 0, "ema_decay": 0.9, "optimiser": {"warmup_steps": 0}},
    "data": {
        "source": textures(CHANGES),
        "side": 32,
        "batch_size": 4,
        "whole_side": 64,
        "whole_from": 50,
        "whole_batch": 1,
    },
    "codebooks": {
        "quantise_from": 2,
        "kmeans_batches": 4,
        "revive_until": 50,
        "revive_every": 2,
    },
    "pixels": {"chroma_from": 0},
    "validation": {"source": textures(UNCHANGED), "images": 3, "side": 64},
}


def overlaid(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = deepcopy(dict(below))
    for name, value in above.items():
        inner = isinstance(value, Mapping) and isinstance(merged.get(name), Mapping)
        merged[name] = overlaid(merged[name], value) if inner else value
    return {name: value for name, value in merged.items() if value is not None}


@pytest.fixture(scope="session")
def overlay() -> Callable[[Mapping[str, Any], Mapping[str, Any]], dict[str, Any]]:
    """A nested mapping with another laid over it; None takes a term out."""
    return overlaid


@pytest.fixture(scope="session")
def small_config() -> Callable[[str], dict[str, Any]]:
    """A preset by name, its last stage without a teacher and with everything made small."""

    def make(name: str) -> dict[str, Any]:
        *_, stage = presets()[name].stages()
        sourceless = overlaid(
            stage.config,
            {
                "data": {"source": None},
                "validation": {"source": None, "probe": None},
                "alignment": None,
            },
        )
        method = TEACHERLESS.get(name, {})
        return overlaid(sourceless, {**SHORT, "model": SMALLER[name], "method": method})

    return make


@pytest.fixture(scope="session")
def small_recipe(small_config, tmp_path_factory) -> Callable[..., TokenizerRecipe]:
    """The recipe of a preset with everything made small, and what is laid over it."""
    work = tmp_path_factory.mktemp("work")

    def make(name: str, change: Mapping[str, Any] | None = None) -> TokenizerRecipe:
        config = overlaid(small_config(name), change or {})
        settings = read_fields(TrainingSettings, config["settings"], "settings")
        return recipe_module(config["recipe"]).build(config, settings, work)

    return make

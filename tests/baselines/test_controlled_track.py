"""The designs that are compared: equal data, steps, losses between images, and size."""

from __future__ import annotations

import pytest
import torch

import medbench
from medbench.baselines import emu3_pumit_catalogue, taming_catalogue, tokenflow_catalogue
from medbench.baselines import unitok_catalogue as unitok
from medbench.harness.training.config_terms import read_fields
from medbench.harness.training.presets import presets, recipe_module
from medbench.harness.training.settings import TrainingSettings
from medbench.harness.training.tokenizer_terms import TokenizerTerms, sections
from medbench.tokenizers.catalogue import TINY_CONFIG as MEDITOK_TINY_CONFIG
from medbench.tokenizers.meditok_config import MedITokConfig
from medbench.tokenizers.meditok_model import MedITokModel

TINY = {
    "vqgan-tiny": taming_catalogue.VQGAN_TINY_CONFIG,
    "emu3-vq-tiny": emu3_pumit_catalogue.EMU3_TINY_CONFIG,
    "medvae-tiny": taming_catalogue.MEDVAE_TINY_CONFIG,
    "pumit-tiny": emu3_pumit_catalogue.PUMIT_TINY_CONFIG,
    "tokenflow-tiny": tokenflow_catalogue.TOKENFLOW_TINY_CONFIG,
    "unitok-tiny": unitok.UNITOK_TINY_CONFIG,
}
OWN = {"recipe", "model", "method", "alignment"}


def config_of(name: str) -> dict:
    *_, stage = presets()[name].stages()
    return dict(stage.config)


@pytest.mark.parametrize("name", list(TINY))
def test_presets_train_the_tiny_networks_of_the_catalogue_under_one_budget(name):
    config, common = config_of(name), config_of("vqgan-tiny")
    assert config["model"] == TINY[name]
    shared = {key: value for key, value in config.items() if key not in OWN}
    assert shared == {key: value for key, value in common.items() if key not in OWN}


def test_the_common_phases_are_in_order():
    config = config_of("vqgan-tiny")
    terms = read_fields(TokenizerTerms, sections(config), "vqgan-tiny")
    settings = read_fields(TrainingSettings, config["settings"], "settings")
    books, whole = terms.codebooks, terms.data.whole_from
    assert whole is not None
    assert 0 < books.quantise_from < books.revive_until < whole < settings.steps
    assert books.kmeans_batches > 0


def test_meditok_takes_as_many_steps_in_its_two_stages_on_the_same_data():
    common = config_of("vqgan-tiny")
    stages = [stage.config for stage in presets()["tiny"].stages() if stage.recipe == "meditok"]
    assert len(stages) == 2
    assert sum(stage["settings"]["steps"] for stage in stages) == common["settings"]["steps"]
    for stage in stages:
        for key in ("source", "batch_size", "side", "whole_batch", "whole_side"):
            assert stage["data"][key] == common["data"][key]


@pytest.mark.parametrize("name", list(TINY))
def test_tiny_networks_are_as_large_as_meditoks_within_a_fifth(name):
    config = config_of(name)
    trainable = recipe_module(config["recipe"]).make(config, seed=0)
    weights = trainable.export(trainable.network.state_dict())
    label = name.removesuffix("-tiny")
    info = medbench.load_tokenizer(label, config=config["model"], weights=weights).info
    with torch.device("meta"):
        meditok = MedITokModel(MedITokConfig.from_mapping(MEDITOK_TINY_CONFIG))
    assert abs(info.parameters / sum(p.numel() for p in meditok.parameters()) - 1) <= 0.2
    assert info.resolution == 256
    published = {"vqgan": 8, "emu3-vq": 8, "medvae": 8, "pumit": 16, "tokenflow": 16, "unitok": 16}
    assert info.downsample == published[label]
    assert info.codebooks == 0 or info.codebook_size >= 1024
    # In half precision; the limit of a file that ships with the package.
    assert 2 * sum(value.numel() for value in weights.values()) <= 6_000_000

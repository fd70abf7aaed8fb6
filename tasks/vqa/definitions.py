"""Definitions of the answers' metrics: the recipe, the prompt and the scorer's rules."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ...harness.file_hashes import file_sha256
from ...harness.files import hash_value
from ...harness.record import Definition
from ...harness.statistics import bootstrap
from ...harness.task import Plan
from ...harness.vocabulary import BLIND, MAJORITY, SHUFFLED
from .presets import (
    DEFAULT,
    SEEDS,
    TEMPERATURE,
    find_preset,
    scored_images,
    stated_recipe,
)
from .saved_files import load_facts, model_files
from .scoring import legacy, polarity, words
from .scoring.scores import LEGACY, METRICS

SAMPLED = "t=0.2"

_FORMULAS: dict[str, dict[str, Any]] = {
    "closed_accuracy": {
        "of": "closed questions",
        "yes and no": f"{polarity.RULE}, where the reference is yes or no",
        "others": "same words in the same order",
    },
    "open_exact": {"of": "open questions", "correct": "same words in the same order"},
    "open_recall": {"of": "open questions", "value": "shared words / reference's, as multisets"},
    "open_f1": {"of": "open questions", "value": "F1 of words, as multisets"},
    "overall": {"of": "all questions", "correct": "as closed_accuracy and open_exact"},
}
_SETTINGS: dict[str, dict[str, Any]] = {
    "": {"decoding": "greedy"},
    SAMPLED: {
        "decoding": f"temperature {TEMPERATURE}",
        "value": f"mean over the preset's seeds, or {SEEDS} with a given model",
    },
    BLIND: {"decoding": "greedy", "model": "tuned and asked without images"},
    SHUFFLED: {"decoding": "greedy", "images": "each question with another image, one cycle"},
    MAJORITY: {
        "answers": "most frequent training answer by language, kind and class; of the images that "
        f"the preset learns on; for given answers and models those of preset {DEFAULT}",
    },
    LEGACY: {"decoding": "greedy", "rule": legacy.RULE},
}


def metric_key(name: str, setting: str) -> str:
    """Under which a definition is found."""
    return f"{name}[{setting}]" if setting else name


def definitions(plan: Plan) -> Mapping[str, Definition]:
    """Definitions by metric and setting."""
    shared = {
        "scorer": words.RULE,
        "denominator": "all questions; missing and unparsed answers are wrong",
        "questions": "about the images of the split",
        "split": plan.split,
        "limit": scored_images(plan.options, plan.limit),
        "intervals": {
            "rule": bootstrap.RULE,
            "replicates": bootstrap.REPLICATES,
            "unit": "image",
            "strata": "modality; one where a modality has a single image",
        },
        **_source(plan),
    }
    found = {}
    for name in METRICS:
        for setting, facts in _SETTINGS.items():
            suffix = f"-{setting.replace('=', '')}" if setting else ""
            found[metric_key(name, setting)] = Definition(
                id=f"vqa-{name.replace('_', '-')}{suffix}-2",
                facts=shared | _FORMULAS[name] | facts,
            )
    return found


def _source(plan: Plan) -> dict[str, Any]:
    """Where the answers come from."""
    options = plan.options
    if "answers" in options:
        # By the user's word only the tokenizer differs. Without it nothing is known to be alike.
        recipe = (
            options.get("recipe") or f"not stated, file {file_sha256(Path(options['answers']))}"
        )
        return {"answers": "from elsewhere", "recipe": recipe}
    images = {
        "image": "stretched to a square when ingested",
        "ingest": plan.ingest_rule,
        "resolution": plan.resolution,
    }
    if "model" in options:
        # Likewise: each tokenizer has a folder of its own, trained by one recipe.
        facts = asdict(load_facts(Path(options["model"])))
        stated = {"recipe": options["recipe"]} if "recipe" in options else {}
        return images | {"model": {k: v for k, v in (facts | stated).items() if k != "tokenizer"}}
    return images | {
        **stated_recipe(find_preset(options.get("preset", DEFAULT))),
        "parts": dict(plan.parts),
        "seed rule": "--seed orders and starts the tuning; earlier stages have seed 0",
    }


def model_hash(folder: Path) -> str:
    """SHA-256 over a model folder's files.

    Raises:
        UsageError: the folder holds no model.
    """
    return hash_value([[path.name, file_sha256(path)] for path in model_files(folder)])

"""Definitions of the reconstruction metrics: all that changes a number, named and hashed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ...harness.metrics import lpips_file
from ...harness.metrics.references import ReconstructionReference
from ...harness.record import Definition
from ...harness.statistics import bootstrap, halves, proportions
from ...harness.task import Plan
from ...harness.vocabulary import ORIGINALS
from .features import Space, spaces
from .formulas import LESIONS, PER_IMAGE, PER_IMAGE_FORMULAS
from .options import Asked, understand
from .retention import RECIPE, TRAINING_IMAGES

BOOTSTRAP = {"rule": bootstrap.RULE, "replicates": bootstrap.REPLICATES}
HALVES = {"rule": halves.RULE, "halves": halves.HALVES, "interval": "1.96 SD"}
SHARES = {"interval": proportions.RULE}

COMMON_N = 500
"""Images of a Fréchet distance that can be compared between sets of different sizes."""
DRAWS = 10
FIXED, LIMIT = f"n={COMMON_N}", "n=inf"
"""Settings: the mean over draws of 500 images, and the value extrapolated to all images."""
WEIGHTED = "image-weighted"
"""Setting: the mean over modalities in which each weighs as many as it has images."""
DRAWN_RULE = "draws-of-500-1"

_FRECHET = {"formula": "Frechet distance of fitted Gaussians, unbiased covariances, float64"}
_KERNEL = {"formula": "unbiased polynomial MMD, degree 3, gamma 1/d, all images"}
_FIXED = {
    "images": f"mean over {DRAWS} draws of {COMMON_N} without replacement",
    "rule": DRAWN_RULE,
    "interval": "1.96 root of (variance over halves of all images + variance of the draws' mean)",
    "halves": HALVES,
}
_WEIGHTED = {"mean": "over modalities, weighted by their images", "halves": HALVES}
_LIMIT = {
    "images": "line in 1/n through n (all images) and n/2 (mean over the halves), at 1/n = 0",
}


def key(metric: str, setting: str = "") -> str:
    """Under which a definition is kept: a metric has one per setting."""
    return f"{metric}[{setting}]" if setting else metric


def joined(*settings: str) -> str:
    """Several settings as one."""
    return " ".join(filter(None, settings))


def image_facts(plan: Plan) -> dict[str, Any]:
    """What all reconstruction metrics depend on: the images and their way to bytes."""
    return {
        "resolution": plan.resolution,
        "ingest": plan.ingest_rule,
        "split": plan.split,
        "limit": plan.limit,
        "output": "clamped to [0, 1] once, times 255, rounded half to even",
    }


def definitions(plan: Plan) -> Mapping[str, Definition]:
    """Definitions by `key`, for what this machine has and the user asked for."""
    asked = understand(plan.options)
    images = image_facts(plan)
    made = dict(_per_image(images, asked))
    for space in spaces(asked):
        made |= _distances(space, images)
    made |= _codes(images)
    if asked.retention:
        made |= _retention(images, plan)
    return made


def _per_image(images: dict[str, Any], asked: Asked) -> Iterator[tuple[str, Definition]]:
    for name in (*PER_IMAGE, *LESIONS, "channel_disagreement"):
        id_, facts = PER_IMAGE_FORMULAS[name]
        yield name, Definition(id=id_, facts=images | facts | {"bootstrap": BOOTSTRAP})
    for name, trunk in lpips_metrics(asked).items():
        if lpips_file.locate(trunk) is None:
            facts = images | {"needs": lpips_file.FILES[trunk]}
            yield name, Definition(id=f"{name}-absent-1", facts=facts)
            continue
        facts = images | lpips_file.definition(trunk) | {"bootstrap": BOOTSTRAP}
        yield name, Definition(id=f"lpips-{trunk}-0.1-1", facts=facts)


def lpips_metrics(asked: Asked) -> dict[str, str]:
    """Trunk of each LPIPS metric of a run."""
    return {"lpips": "alex"} | ({"lpips_vgg": "vgg"} if asked.lpips_vgg else {})


def _distances(space: Space, images: dict[str, Any]) -> dict[str, Definition]:
    features = images | {
        "extractor": dict(space.definition),
        "reference": ReconstructionReference.RULE,
    }
    name = space.name
    whole: dict[str, Any] = {"halves": HALVES}
    forms = {"": whole, WEIGHTED: _WEIGHTED, FIXED: _FIXED, LIMIT: whole | _LIMIT}
    found = {}
    for setting, facts in forms.items():
        suffix = f"-{setting.replace('=', '')}" if setting else ""
        found[key(space.frechet, joined(space.setting, setting))] = Definition(
            id=f"frechet-{name}{suffix}-2", facts=features | _FRECHET | facts
        )
        if setting not in (FIXED, LIMIT):
            found[key(space.kernel, joined(space.setting, setting))] = Definition(
                id=f"kid-{name}{suffix}-2", facts=features | _KERNEL | facts
            )
    for metric in space.absent:
        found[metric] = Definition(id=f"{metric}-absent-1", facts=images | {"needs": space.needs})
    return found


def _codes(images: dict[str, Any]) -> dict[str, Definition]:
    codes = images | {"pooled": "over the group's images"}
    entropy = {"formula": "sum over codebooks, Miller-Madow, bits per position"}
    perplexity = {"formula": "2 to the entropy of a codebook (Miller-Madow), mean over codebooks"}
    scaled = {"scaled": "positions / pixels"}
    rate = {"rate": "K L log2(V); continuous: 16 bits a number; codecs: measured bytes, mean"}
    facts = {
        "usage": ("usage-1", codes | {"mean": "over codebooks"}),
        "entropy": ("entropy-mm-1", codes | entropy),
        "perplexity": ("perplexity-mm-1", codes | perplexity),
        "effective_bits_per_pixel": ("effective-bpp-mm-1", codes | entropy | scaled),
        "bits_per_image": ("bits-per-image-1", images | rate),
        "bits_per_pixel": ("bits-per-pixel-1", images | rate),
    }
    return {name: Definition(id=id_, facts=each) for name, (id_, each) in facts.items()}


def _retention(images: dict[str, Any], plan: Plan) -> dict[str, Definition]:
    shared = images | {
        "classifier": RECIPE.terms() | {"among": "the labels of the image's group"},
        "training": {"part": plan.parts.get("train"), "images": TRAINING_IMAGES},
        "bootstrap": BOOTSTRAP,
    }
    auc = "mean over classes, one against the rest, by group; drawn class by class"
    made = {
        ("label_flip_rate", ""): ("label-flips-2", "share of images whose answer changes"),
        ("auc_drop", ""): ("auc-drop-1", f"AUC on originals minus on reconstructions; {auc}"),
        ("auc", ORIGINALS): ("auc-originals-1", auc),
        ("acc", ORIGINALS): ("acc-originals-2", "share of right answers on originals"),
        ("acc", "reconstructions"): ("acc-back-2", "share of right answers on reconstructions"),
    }
    return {
        key(*name): Definition(
            id=id_,
            facts=shared | {"formula": formula} | ({} if name[0].startswith("auc") else SHARES),
        )
        for name, (id_, formula) in made.items()
    }

"""The page of the claims: one table, and which claims hold."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from tabulate import tabulate

SEEDS = (0, 1, 2)

ARMS = {
    "A": ("recon", "reconstruction only"),
    "B": ("stage1-on", "stage 1"),
    "C": ("stage2", "stage 1, then stage 2"),
    "D": ("text-only", "text only"),
    "S": ("shuffled", "stage 1, teacher pairs shuffled"),
    "W": ("weight-1", "stage 1 with weight 1"),
    "O": ("cosine", "stage 1 with cosine instead of contrast"),
    "T": ("text-trained", "stage 1, then stage 2 with a trained text tower"),
}


def page(found: dict[str, Any]) -> str:
    """The table, and what holds."""
    rows = []
    for arm, (_, words) in ARMS.items():
        each = [seed["arms"][arm] for seed in found["seeds"].values()]
        rows.append(
            {
                "arm": f"{arm}: {words}",
                "PSNR, dB": _all([one["psnr"] for one in each], 1),
                "mAP flat": _all([one["label"]["flat"] for one in each], 3),
                "mAP mean": _all([one["label"]["mean"] for one in each], 3),
                "unnamed, flat": _all([one["unnamed"]["flat"] for one in each], 3),
                **{
                    f"{name}, flat": _all([one["real"][name]["flat"] for one in each], 3)
                    for name in each[0]["real"]
                },
            }
        )
    teachers = [seed["teacher"] for seed in found["seeds"].values()]
    rows += [
        _beside("the teacher's embeddings", teachers),
        _beside("raw pixels", [found["raw pixels"]]),
    ]
    return TEXT.format(
        table=tabulate(rows, headers="keys", tablefmt="github", disable_numparse=True),
        verdicts="\n".join(f"- {line}" for line in verdicts(found)),
        chance=found["chance"],
        measured=_measured(list(found["seeds"])),
    )


TEXT = """# The paper's claims in miniature

`python benchmarks/claims.py train --seed N` for every seed, then `python benchmarks/claims.py
measure`. {measured} All arms have equal steps and data: 900 steps of 64 images of 64 px, 1.5
million parameters, preset `micro`; one teacher for all. mAP is macro over the nine modalities of
medsynth's test split; chance is {chance:.3f}. *Unnamed* is a part of each image's state that no
caption names (chance 0.5). The sets after it are real or derived from real images; no tokenizer was
trained on them.

{table}

{verdicts}

Why gains are small: alignment can hand on what the teacher knows, and at 64 px, where many lesions
are a few pixels, the teacher itself is not far above the arm that only reconstructs.
"""


def _measured(seeds: list[str]) -> str:
    missing = [str(seed) for seed in SEEDS if str(seed) not in seeds]
    if not missing:
        return f"The values of seeds {', '.join(seeds)} stand beside each other."
    return f"Measured so far: seed {', '.join(seeds)}; **missing: seed {', '.join(missing)}**."


def _beside(name: str, each: list[dict[str, Any]]) -> dict[str, str]:
    """A row of features that reconstruct nothing."""
    return {
        "arm": name,
        "mAP flat": _all([one["label"]["flat"] for one in each], 3),
        "unnamed, flat": _all([one["unnamed"]["flat"] for one in each], 3),
        **{
            f"{label}, flat": _all([one["real"][label]["flat"] for one in each], 3)
            for label in each[0]["real"]
        },
    }


def _all(values: list[float], digits: int) -> str:
    return " / ".join(f"{value:.{digits}f}" for value in values)


def verdicts(found: dict[str, Any]) -> list[str]:
    """The claims, one by one: held in every seed, or not reproduced."""
    seeds = list(found["seeds"].values())

    def of(arm: str, kind: str) -> NDArray[np.float64]:
        return np.array([seed["arms"][arm]["label"][kind] for seed in seeds])

    def decibels(arm: str) -> NDArray[np.float64]:
        return np.array([seed["arms"][arm]["psnr"] for seed in seeds])

    def lower(gain: str, kind: str) -> NDArray[np.float64]:
        return np.array([seed[gain][kind]["low"] for seed in seeds])

    claims = []
    for kind in ("flat", "mean"):
        rise, low = of("B", kind) - of("A", kind), lower("B - A", kind)
        claims.append((f"stage 1 gains at least 0.15 mAP ({kind})", rise, rise >= 0.15))
        claims.append((f"stage 1 gains something ({kind}); lower bounds", low, low > 0))
    cost = decibels("A") - decibels("B")
    claims.append(("stage 1 costs at most 0.5 dB", cost, cost <= 0.5))
    for kind in ("flat", "mean"):
        low = lower("C - B", kind)
        claims.append((f"stage 2 gains over stage 1 ({kind}); lower bounds", low, low > 0))
        gap = np.abs(of("S", kind) - of("A", kind))
        claims.append((f"shuffled pairs are within 0.03 of none ({kind})", gap, gap <= 0.03))
    beyond = np.array([found["raw pixels"]["label"]["flat"] - found["chance"]])
    claims.append(("raw pixels are within 0.05 of chance", beyond, np.abs(beyond) <= 0.05))
    return [
        f"{claim}: {_all(values.tolist(), 3)}: {'holds' if held.all() else '*not reproduced*'}"
        for claim, values, held in claims
    ]

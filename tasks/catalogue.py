"""The tasks that come with medbench."""

from __future__ import annotations

from pathlib import Path

from ..harness.registry import TaskPlugin

SWEEPS = Path(__file__).parent / "sweeps"
"""Grids of cells that come along, by the names of their files."""

SWEEP_COSTS = SWEEPS / "costs.json"
"""What their cells took, for the estimate of a sweep of which nothing has been run."""

ENTRIES = (
    TaskPlugin(
        "recon",
        "medbench.tasks.recon.task:TASK",
        "reconstruction: PSNR, SSIM, MS-SSIM, LPIPS, rFID, KID, codebook use, masks, retention",
        columns=(
            "psnr",
            "ssim",
            "ms_ssim",
            "lpips",
            "rfid",
            "kid",
            "rfd_random",
            "usage",
            "psnr_lesion",
            "label_flip_rate",
            "auc_drop",
        ),
        by_modality=("psnr", "ssim", "ms_ssim"),
    ),
    TaskPlugin(
        "probe",
        "medbench.tasks.probe.task:TASK",
        "linear probes of frozen features: mAP, AUC, balanced accuracy, worst recall",
        columns=(
            *("map", "auc", "acc", "bacc", "worst_recall"),
            *("map[mean lp-val]", "map[cont-mean lp-val]", "map[k-NN]", "map[10% of labels]"),
            "map[lp-paper]",
        ),
        by_modality=("map", "auc"),
    ),
    TaskPlugin(
        "synthesis",
        "medbench.tasks.synthesis.task:TASK",
        "a generator on the tokenizer's codes: gFID, KID, precision, recall, diversity",
        columns=(
            *("gfid", "gfid[real]", "gfid[floor]"),
            *("gfd_random", "gfd_random[real]", "gfd_random[floor]"),
            *("kid", "kid[real]", "kid[floor]"),
            *("kid_random", "kid_random[real]", "kid_random[floor]"),
            *("precision", "recall", "density", "coverage"),
            *("class_accuracy", "class_accuracy[real]", "class_accuracy[floor]"),
            *("diversity", "diversity[real]"),
            *("nearest_training", "nearest_training[floor]"),
        ),
        by_modality=("gfid", "gfd_random", "class_accuracy", "diversity"),
    ),
    TaskPlugin(
        "vqa",
        "medbench.tasks.vqa.task:TASK",
        "question answering: a language model on the tokenizer's features, with blind controls",
        columns=(
            "overall",
            "closed_accuracy",
            "open_exact",
            "open_recall",
            "overall[t=0.2]",
            "overall[blind]",
            "overall[shuffled]",
            "overall[majority]",
        ),
        by_modality=("overall",),
    ),
)

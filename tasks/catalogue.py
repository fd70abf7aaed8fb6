"""The tasks that come with medbench."""

from __future__ import annotations

from ..harness.registry import TaskPlugin

ENTRIES = (
    TaskPlugin(
        "recon",
        "medbench.tasks.recon.task:TASK",
        "reconstruction: PSNR, SSIM, MS-SSIM, rFID, KID, codebook use",
        columns=("psnr", "ssim", "ms_ssim", "lpips", "rfid", "kid", "rfd_random", "usage"),
        by_modality=("psnr", "ssim", "ms_ssim"),
    ),
)

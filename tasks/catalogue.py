"""The tasks that come with medbench."""

from __future__ import annotations

from ..harness.registry import Plugin

ENTRIES = (
    Plugin(
        "recon",
        "medbench.tasks.recon.task:TASK",
        "reconstruction: PSNR, SSIM, MS-SSIM, rFID, KID, codebook use",
    ),
)

"""Alternate several forms in one process and compare their CPU seconds.

CPU seconds of one thread are robust against neighbours on the machine; forms take turns, and the
median over the rounds counts.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
from tabulate import tabulate


def compare(
    title: str, forms: dict[str, Callable[[], object]], *, peer: str, rounds: int = 3
) -> None:
    """Print seconds and the ratio peer / form of each form."""
    torch.set_num_threads(1)
    seconds: dict[str, list[float]] = {name: [] for name in forms}
    for _ in range(rounds):
        for name, form in forms.items():
            begun = time.process_time()
            form()
            seconds[name].append(time.process_time() - begun)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    rows = [
        [name, f"{value:.3f}", f"{medians[peer] / value:.2f}"] for name, value in medians.items()
    ]
    print(tabulate(rows, headers=[title, "CPU s", f"{peer} / form"], tablefmt="simple"), "\n")

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import nn

from medbench.harness.training.recipe import StepLosses


class ToyRecipe:
    """Fits a small network to noise, and remembers a number from step to step."""

    def __init__(
        self, *, stop_at: int | None = None, nan_at: int | None = None, break_at: int | None = None
    ) -> None:
        with torch.random.fork_rng():
            torch.manual_seed(3)
            self.model = nn.Sequential(
                nn.Linear(6, 16), nn.GELU(), nn.LayerNorm(16), nn.Linear(16, 6)
            )
        self.memory = 0.0
        self.stop_at, self.nan_at, self.break_at = stop_at, nan_at, break_at

    def before_step(self, step: int) -> None:
        if step == self.stop_at:
            raise KeyboardInterrupt

    def losses(self, step: int, generator: torch.Generator) -> StepLosses:
        x = torch.randn(8, 6, generator=generator)
        error = (self.model(x) - x).square().mean()
        if step == self.nan_at:
            error = error * float("nan")
        if step == self.break_at:  # a finite loss with an infinite slope
            error = error + (0 * error).sqrt()
        memory = torch.tensor(self.memory)
        return StepLosses({"error": error, "pull": 0.01 * memory * error}, {"memory": memory}, 8)

    def after_step(self, step: int, generator: torch.Generator) -> None:
        draw = float(torch.rand((), generator=generator))
        self.memory = 0.9 * self.memory + draw + 0.01 * step

    def state_dict(self) -> dict[str, Any]:
        return {"memory": self.memory}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.memory = state["memory"]


@pytest.fixture
def toy_recipe() -> type[ToyRecipe]:
    return ToyRecipe

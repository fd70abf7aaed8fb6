from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from medbench.harness.errors import UsageError
from medbench.harness.training import journal, parallel
from medbench.harness.training.recipe import Recipe, StepLosses, Validation


def _interrupt(error: Tensor) -> Tensor:
    raise KeyboardInterrupt


def _send(number: signal.Signals) -> Callable[[Tensor], Tensor]:
    def fault(error: Tensor) -> Tensor:
        os.kill(os.getpid(), number)
        return error

    return fault


FAULTS: dict[str, Callable[[Tensor], Tensor]] = {
    "interrupt": _interrupt,
    "kill": _send(signal.SIGKILL),
    "terminate": _send(signal.SIGTERM),
    "nan": lambda error: error * float("nan"),
    "slope": lambda error: error + (0 * error).sqrt(),  # finite, with an infinite slope
}


class Drifting(nn.Module):
    """A layer whose buffer counts training passes and changes what comes out."""

    def __init__(self, layers: nn.Module, drift: float) -> None:
        super().__init__()
        self.layers, self.drift = layers, drift
        self.register_buffer("passes", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.passes += 1
        return self.layers(x) * (1 + self.drift * self.passes)


class ToyRecipe(Recipe):
    """Fits a small network to noise. It has all that a run must not forget: buffers, dropout, a
    number that outlives steps, and where asked for an opponent and a contrastive term.

    `fault` happens in the last batch of step `at`, when buffers and memory have changed already;
    with `unreadable`, that batch is not to be had.
    """

    def __init__(
        self,
        *,
        batch: int = 8,
        parts: int = 2,
        dropout: float = 0.1,
        drift: float = 0.01,
        contest: bool = False,
        contrast: bool = False,
        fault: str = "",
        at: int = -1,
    ) -> None:
        with torch.random.fork_rng():
            torch.manual_seed(3)
            layers = nn.Sequential(
                nn.Linear(6, 16), nn.GELU(), nn.LayerNorm(16), nn.Dropout(dropout), nn.Linear(16, 6)
            )
            self.model = Drifting(layers, drift)
            judge = nn.Sequential(nn.Linear(6, 8), nn.GELU(), nn.Linear(8, 1))
            self.opponent = Drifting(judge, drift) if contest else None
            self.keys = torch.randn(6, 6)
        self.batch, self.parts, self.contrast = batch, parts, contrast
        self.fault, self.at = fault, at
        self.memory = 0.0
        self.seen = 0
        self.looked: list[dict[str, Tensor]] = []
        self.dtype = torch.float32
        self._latest = torch.zeros(0)

    def batches(self, first_step: int) -> Iterator[Tensor]:
        for number in itertools.count(first_step * self.parts):
            positions = range(number * self.batch, (number + 1) * self.batch)
            rows = [torch.randn(6, generator=torch.Generator().manual_seed(p)) for p in positions]
            if self.fault == "unreadable" and number == self.at * self.parts + 1:
                message = "image 7 cannot be read"
                raise UsageError(message)
            yield torch.stack(rows)[parallel.own_rows(self.batch)]

    def export(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return dict(weights)

    def losses(self, step: int, batch: Tensor, generator: torch.Generator) -> StepLosses:
        self.seen += 1
        made = self.model(batch)
        self.dtype = made.dtype
        error = (made - batch).square().mean()
        if step == self.at and self.fault in FAULTS and self.seen % self.parts == 0:
            error = FAULTS[self.fault](error)
        memory = torch.tensor(self.memory)
        terms = {"error": error, "pull": 0.01 * memory * error}
        if self.opponent is not None:
            self.opponent.requires_grad_(False)
            terms["contest"] = -0.1 * self.opponent(made).mean()
            self.opponent.requires_grad_(True)
            self._latest = made.detach()
        if self.contrast:
            terms["contrast"] = self._contrast(made, batch @ self.keys)
        return StepLosses(terms, {"memory": memory}, len(batch))

    def opponent_terms(self, step: int, generator: torch.Generator) -> Mapping[str, Tensor]:
        if self.opponent is None:
            return {}
        real = torch.randn(self.batch, 6, generator=generator)[parallel.own_rows(self.batch)]
        sides = (1 - self.opponent(real), 1 + self.opponent(self._latest))
        return {"opponent": sum(side.relu().mean() for side in sides)}

    def after_step(self, step: int, generator: torch.Generator) -> None:
        draw = float(torch.rand((), generator=generator) + torch.rand(()))
        self.memory = 0.9 * self.memory + draw + 0.01 * step

    def validate(self, step: int) -> Validation:
        self.looked.append({k: v.clone() for k, v in self.model.state_dict().items()})
        error = self.model(torch.randn(4, 6)).square().mean()
        return Validation({"size": float(error)})

    def state_dict(self) -> dict[str, Any]:
        return {"memory": self.memory, "seen": self.seen}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.memory, self.seen = state["memory"], state["seen"]

    @staticmethod
    def _contrast(made: Tensor, keys: Tensor) -> Tensor:
        """Each row against all rows, of the other processes too, in both directions."""
        own = torch.arange(len(made)) + parallel.rank() * len(made)
        there = F.cross_entropy(made @ parallel.gather_rows(keys).T, own)
        return there + F.cross_entropy(keys @ parallel.gather_rows(made).T, own)


@pytest.fixture
def toy_recipe() -> type[ToyRecipe]:
    return ToyRecipe


@pytest.fixture
def undrawn(monkeypatch) -> None:
    """Runs without `curve.png`, which takes longer than a toy's training."""
    monkeypatch.setattr(journal, "draw_curve", lambda *_, **__: b"")

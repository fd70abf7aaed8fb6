"""Hugging Face Accelerate, as the loop uses it: device, processes, precision, gradients."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import MissingPrerequisite, UsageError
from . import parallel
from .recipe import Recipe
from .settings import Precision


class Objective(nn.Module):
    """A recipe's losses as a module, so that processes average its gradients as they arise."""

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self.model = recipe.model
        self._losses = recipe.losses

    def forward(
        self, step: int, batch: Any, generator: torch.Generator
    ) -> tuple[dict[str, Tensor], dict[str, Tensor], int]:
        """Terms, readings and the number of images."""
        found = self._losses(step, batch, generator)
        return dict(found.terms), dict(found.readings), found.images


class Engine:
    """One model and its optimiser on a device, in one or several processes.

    Args:
        recipe: its `model` is moved to the device, and its `opponent`.
        optimiser: of the model.
        precision: of the forward passes.
        device: torch device; with several processes, each takes the GPU of its local rank
            (`choose_device`).

    Raises:
        MissingPrerequisite: Accelerate is not installed.
        UsageError: fp16 without a GPU.
    """

    def __init__(
        self, recipe: Recipe, optimiser: torch.optim.Optimizer, *, precision: Precision, device: str
    ) -> None:
        try:
            from accelerate import Accelerator
            from accelerate.state import AcceleratorState
            from accelerate.utils import DistributedDataParallelKwargs
        except ImportError as error:
            message = "training needs Accelerate: pip install 'medbench[train]'"
            raise MissingPrerequisite(message) from error
        on_cpu = torch.device(device).type == "cpu"
        if precision == "fp16" and on_cpu:
            # Accelerate scales no losses there, and small gradients would silently become 0.
            message = "precision fp16 needs a GPU; on the CPU choose bf16 or fp32"
            raise UsageError(message)
        if torch.device(device).index is not None and torch.device(device).type == "cuda":
            torch.cuda.set_device(device)  # Accelerate takes the current one
        AcceleratorState._reset_state()  # a run before may have had another precision
        self._accelerator = Accelerator(
            mixed_precision="no" if precision == "fp32" else precision,
            cpu=on_cpu,
            # Codebooks rest in the first phase, heads in others; buffers are the recipe's affair.
            kwargs_handlers=[
                DistributedDataParallelKwargs(find_unused_parameters=True, broadcast_buffers=False)
            ],
        )
        if recipe.opponent is not None:
            recipe.opponent.to(self._accelerator.device)
        recipe.place(self._accelerator.device)
        with warnings.catch_warnings():
            # torch 2.15 has another name for it, which Accelerate does not pass on.
            warnings.filterwarnings("ignore", "`broadcast_buffers`", FutureWarning)
            self.objective = self._accelerator.prepare_model(Objective(recipe))
        self.optimiser = self._accelerator.prepare_optimizer(optimiser)
        self._parameters = list(recipe.model.parameters())

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self._accelerator.device

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of a loss, scaled where the precision asks for it."""
        self._accelerator.backward(loss)

    def accumulating(self, *, more: bool) -> contextlib.AbstractContextManager[Any]:
        """Around one of several backward passes: without messages while `more` are to come."""
        if more and parallel.world_size() > 1:
            return self._accelerator.no_sync(self.objective)
        return contextlib.nullcontext()

    def clip(self, largest: float) -> float:
        """Unscale the gradients, clip their norm (0: do not), and return the norm before."""
        norm = self._accelerator.clip_grad_norm_(self._parameters, largest or float("inf"))
        return float(norm) if norm is not None else 0.0

    @property
    def skipped(self) -> bool:
        """Whether the last step was left out because a scaled gradient overflowed."""
        return bool(getattr(self.optimiser, "step_was_skipped", False))

    @property
    def scales(self) -> bool:
        """Whether losses are scaled, so that overflow is expected now and then."""
        return self._accelerator.scaler is not None

    def state_dict(self) -> dict[str, Any]:
        """Of the optimiser and the loss scale."""
        scaler = self._accelerator.scaler
        return {
            "optimiser": self.optimiser.state_dict(),
            "scaler": scaler.state_dict() if scaler is not None else {},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what `state_dict` gave."""
        self.optimiser.load_state_dict(state["optimiser"])
        if self._accelerator.scaler is not None and state["scaler"]:
            self._accelerator.scaler.load_state_dict(dict(state["scaler"]))

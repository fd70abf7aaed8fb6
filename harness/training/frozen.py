"""Networks that are used in training and never trained: their weights are constants."""

from __future__ import annotations

from typing import Any

from torch import nn


class Frozen(nn.Module):
    """A network whose parameters have become constants.

    It moves with `.to(...)` like any part of a model, but it has no parameters and no state: an
    optimiser does not see it, a checkpoint does not hold it, and it stays in evaluation mode
    whatever `train` says of the model around it. Gradients flow through it.

    Args:
        network: changed in place.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        for part in network.modules():
            for name, parameter in list(part.named_parameters(recurse=False)):
                del part._parameters[name]
                part.register_buffer(name, parameter.detach(), persistent=False)
            for name, buffer in list(part.named_buffers(recurse=False)):
                part.register_buffer(name, buffer, persistent=False)
        self.network: Any = network
        self.eval()

    def train(self, mode: bool = True) -> Frozen:
        """Stays in evaluation mode."""
        del mode
        return super().train(False)

    def forward(self, *values: Any, **named: Any) -> Any:
        """What the network gives."""
        return self.network(*values, **named)

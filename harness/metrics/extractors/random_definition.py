"""What defines the random network's features, without loading torch."""

from __future__ import annotations

SEED = 2020
CHANNELS = (3, 32, 48, 96, 192, 256)
DIMS = 2 * CHANNELS[-1]
WEIGHTS_SHA256 = "3237d73a4f2366b71e5e52702014f0b325c29ead1f4c01b8d083cb9ba505cd56"
"""Of all weights and biases in layer order, little-endian float32."""

DEFINITION: dict[str, str | int | float] = {
    "name": "random-conv-1",
    "dims": DIMS,
    "network": "five 3x3 convolutions, stride 2, replicated edges, ReLU",
    "channels": "-".join(map(str, CHANNELS)),
    "pooling": "mean and population standard deviation over positions",
    "input": "x / 127.5 - 1, no resize",
    "weights_sha256": WEIGHTS_SHA256,
}
"""All that changes the features; part of the definitions of `rfd_random` and `kid_random`."""

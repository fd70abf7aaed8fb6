"""The training loop that every trainable model of medbench goes through, and its data."""

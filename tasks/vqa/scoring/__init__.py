"""The scorer of answers, usable without a model: nothing here imports torch."""

"""Probes: how much a frozen tokenizer's features tell, read out by the simplest classifiers."""

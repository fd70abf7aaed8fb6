"""Reconstruction: how much of an image survives encode and decode."""

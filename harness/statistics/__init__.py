"""Intervals: bootstrap for means of per-image scores, random halves for distances of sets."""

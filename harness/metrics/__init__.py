"""Metrics: pure functions on arrays, one per file; torch only in the files that need it."""

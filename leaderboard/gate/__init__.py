"""The regression gate: is a new measurement worse than the baseline, beyond doubt and by enough?"""

"""Several systems against each other: what is distinguishable, and what more images would show."""

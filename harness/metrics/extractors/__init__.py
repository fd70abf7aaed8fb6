"""Feature extractors for distances between distributions; one file each, torch only in those."""

"""Image datasets: cards, readers, and the ingest that turns them into one checked array."""

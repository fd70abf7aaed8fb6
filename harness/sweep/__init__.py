"""A grid of cells as resumable jobs: tokenizers × tasks × datasets × seeds, on one engine."""

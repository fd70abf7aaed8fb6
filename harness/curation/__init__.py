"""From what owners distribute to training images: slices, filters, counts and an index."""

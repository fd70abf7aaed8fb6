"""The class-conditional generator: LlamaGen's transformer, and its head for several codebooks."""

"""Networks that know images and texts, and whose embeddings a tokenizer learns to match."""

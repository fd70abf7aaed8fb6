"""What tokenizers are compared with: trivial bounds and classical codecs."""

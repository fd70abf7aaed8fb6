"""Linear probing: how much of an image's class a frozen tokenizer's features tell."""

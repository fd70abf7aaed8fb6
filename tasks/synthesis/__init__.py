"""The synthesis task: a generator on the codes of any discrete tokenizer, scored."""

"""Tasks: each turns a tokenizer and a data set into scores."""

"""Make the small base model of the quickstart: corpus, tokenizer and pretraining."""

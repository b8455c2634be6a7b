"""The factory of the small base that comes with loratory: corpus, tokenizer, pretraining."""

"""The data of a study: sources to token ids, cleaned and split."""

"""The data of a study, from its sources to token ids: read, cleaned and split."""

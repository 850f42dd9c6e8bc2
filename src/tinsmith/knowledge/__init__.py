"""Stage `knowledge`: the passages that answers are taken from."""

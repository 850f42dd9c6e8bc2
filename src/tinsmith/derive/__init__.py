"""How every number of a run follows from the raw files in its folder."""

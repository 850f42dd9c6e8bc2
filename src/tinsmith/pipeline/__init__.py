"""The stages, and what brings a run up to date."""

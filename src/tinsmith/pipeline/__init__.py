"""The stages, and the runner that brings a run up to date."""

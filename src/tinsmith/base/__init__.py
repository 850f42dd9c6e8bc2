"""Fetch the base model, verify it, and convert it to one clean form."""

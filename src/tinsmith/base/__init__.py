"""Fetch the base model, verify it, and bring it into one clean form."""

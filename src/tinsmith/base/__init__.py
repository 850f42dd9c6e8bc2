"""The base model: found, verified, and brought into one clean form."""

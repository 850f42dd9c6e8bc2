"""Foundations that every other package uses. They know nothing of models or browsers."""

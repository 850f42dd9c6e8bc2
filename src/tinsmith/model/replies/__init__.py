"""Replies of models and page to the same questions: their record, and the numbers that follow from it."""

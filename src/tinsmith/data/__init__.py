"""Conversations in any common file format -> checked, de-duplicated, split conversations and a report of every change."""

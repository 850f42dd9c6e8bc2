"""Read conversations in common file formats, check, de-duplicate and split them, and report every change."""

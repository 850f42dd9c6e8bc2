"""Read conversations in the formats that people have: `find.find_pieces`, `piece.read_piece`, `shapes.shaped`."""

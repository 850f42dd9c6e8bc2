"""The model card: rendered from measurements, records and the author's words, and verified against them."""

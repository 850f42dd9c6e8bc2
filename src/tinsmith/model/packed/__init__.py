"""Conversations that share an opening in one pass: packing, attention, decoder and loss, used by several stages."""

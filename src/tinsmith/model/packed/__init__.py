"""Run conversations that share an opening in one forward pass: packing, attention, decoder and loss."""

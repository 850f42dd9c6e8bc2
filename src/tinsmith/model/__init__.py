"""What a language model and its data are: conversations, families, tokens, packed batches, ONNX decoders."""

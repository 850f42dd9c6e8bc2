"""The packaged model in a real browser: how fast it is, and whether it says what ONNX Runtime says."""

"""Export of the INT4 package: quantization, ONNX graphs, and checks of what the graphs compute."""

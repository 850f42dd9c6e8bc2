"""The INT4 package: quantization, ONNX graphs, and the checks that they compute what they should."""

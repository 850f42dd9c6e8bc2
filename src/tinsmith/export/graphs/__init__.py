"""The package's ONNX graphs, one module each: `build` writes the graph, `check` gates what it computes."""

"""The package's ONNX graphs, one module each: `build` writes a graph into the package, `check` gates what it computes."""

"""The package's ONNX graphs, one module each: `build` writes it into the package, `check` gates what it computes."""

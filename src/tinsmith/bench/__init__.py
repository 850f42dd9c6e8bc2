"""Speed and correctness of the packaged model in a real browser."""

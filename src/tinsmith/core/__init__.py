"""What every part of tinsmith stands on; it knows nothing of models or browsers."""

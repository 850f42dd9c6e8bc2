"""One module for each command of `tinsmith`, named after it."""

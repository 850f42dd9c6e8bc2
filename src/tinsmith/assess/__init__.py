"""The stages `review` and `judge`: how people and language models judge the answers."""

"""Evaluation of base, tuned and int4 on identical token ids: losses, greedy answers and key facts."""

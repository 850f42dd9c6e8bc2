"""What ONNX Runtime computes after a prompt, token by token, for a browser to be held against (`web/reference.js`)."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinsmith.model.onnx_decoder import OnnxDecoder

_COMPARED = 16


def reference_answer(
    decoder: OnnxDecoder, prompt_ids: Sequence[int], end_ids: Sequence[int], new_tokens: int
) -> dict[str, Any]:
    """A `Reference` of `web/reference.js`: the greedy answer's first tokens, and the logits each was chosen by.

    `likely_ids` and `likely_logits` are those of the 16 most likely tokens before each. End tokens are never chosen.
    """
    sequence = decoder.start()
    logits = sequence.feed(prompt_ids, keep=1)[-1]
    token_ids, likely_ids, likely_logits = [], [], []
    for _ in range(new_tokens):
        logits[list(end_ids)] = -np.inf
        likely = np.argsort(-logits, kind="stable")[:_COMPARED]
        token_ids.append(int(likely[0]))
        likely_ids.append(likely.tolist())
        likely_logits.append([round(float(value), 4) for value in logits[likely]])
        logits = sequence.feed([token_ids[-1]], keep=1)[-1]
    return {
        "prompt_ids": list(prompt_ids),
        "token_ids": token_ids,
        "likely_ids": likely_ids,
        "likely_logits": likely_logits,
    }

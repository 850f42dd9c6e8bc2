"""Reference answers from ONNX Runtime. `web/reference.js` compares a browser's logits with them, token by token."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinsmith.model.onnx_decoder import OnnxDecoder

_LIKELY_TOKENS = 16


def reference_answer(
    decoder: OnnxDecoder, prompt_ids: Sequence[int], end_ids: Sequence[int], new_tokens: int
) -> dict[str, Any]:
    """The greedy answer's first tokens and their logits, as a `Reference` of `web/reference.js`.

    `likely_ids` and `likely_logits` list the 16 most likely tokens at each step. End tokens are never chosen.
    """
    sequence = decoder.start()
    logits = sequence.feed(prompt_ids, keep=1)[-1]
    token_ids, likely_ids, likely_logits = [], [], []
    for _ in range(new_tokens):
        logits[list(end_ids)] = -np.inf
        likely = np.argsort(-logits, kind="stable")[:_LIKELY_TOKENS]
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

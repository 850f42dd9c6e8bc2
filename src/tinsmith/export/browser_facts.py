"""What a browser checks of its GPU: whether the largest weight fits, and whether the GPU computes what a processor does."""

from pathlib import Path
from typing import Any

import numpy as np

from tinsmith.chat import Message
from tinsmith.onnx_decoder import ONNX_FILE, load_onnx
from tinsmith.tokens import ChatTokenizer

REFERENCE_TOKENS = 20
_COMPARED = 16
_QUESTION = (
    "Hello! Please tell me in two or three short sentences who you are, what you know about, and which questions you can "
    "answer well; then give me one example of such a question, and say how sure you would be of your answer to it."
)
"""Nobody's own words, for it is published; long enough for the attention kernels that GPUs use from 32 tokens on."""


def browser_facts(package_dir: Path, tokenizer: ChatTokenizer, largest_tensor_bytes: int) -> dict[str, Any]:
    """The content of a package's `browser.json`.

    `reference` has the ids of a prompt, the greedy answer's first 20 tokens that are not end tokens, and before each of
    them the ids and logits of the 16 most likely tokens, computed by ONNX Runtime with the packaged 4-bit graph.
    """
    prompt_ids = tokenizer.encode_prompt((Message("user", _QUESTION),))
    sequence = load_onnx(package_dir / ONNX_FILE).start()
    logits = sequence.feed(prompt_ids, keep=1)[-1]
    token_ids, likely_ids, likely_logits = [], [], []
    for _ in range(REFERENCE_TOKENS):
        logits[list(tokenizer.end_ids)] = -np.inf
        likely = np.argsort(-logits, kind="stable")[:_COMPARED]
        token_ids.append(int(likely[0]))
        likely_ids.append(likely.tolist())
        likely_logits.append([round(float(value), 4) for value in logits[likely]])
        logits = sequence.feed([token_ids[-1]], keep=1)[-1]
    return {
        "largest_tensor_bytes": largest_tensor_bytes,
        "reference": {"prompt_ids": prompt_ids, "token_ids": token_ids, "likely_ids": likely_ids, "likely_logits": likely_logits},
    }

"""What a browser checks of its GPU: whether the largest weight fits, and whether the GPU computes what a processor does."""

from pathlib import Path
from typing import Any

from tinsmith.model.conversations import Message
from tinsmith.model.onnx_decoder import load_onnx
from tinsmith.model.package_format import FLOAT32
from tinsmith.model.reference import reference_answer
from tinsmith.model.tokens import ChatTokenizer

REFERENCE_TOKENS = 20
_QUESTION = (
    "Hello! Please tell me in two or three short sentences who you are, what you know about, and which questions you can "
    "answer well; then give me one example of such a question, and say how sure you would be of your answer to it."
)
"""Nobody's own words, for it is published; long enough for the attention kernels that GPUs use from 32 tokens on."""


def browser_facts(package_dir: Path, tokenizer: ChatTokenizer, largest_tensor_bytes: int) -> dict[str, Any]:
    """The content of a package's `browser.json`.

    `reference` is the packaged 4-bit graph's answer to a question, by ONNX Runtime.
    """
    prompt_ids = tokenizer.encode_prompt((Message("user", _QUESTION),))
    decoder = load_onnx(package_dir / FLOAT32.file)
    return {
        "largest_tensor_bytes": largest_tensor_bytes,
        "reference": reference_answer(decoder, prompt_ids, tokenizer.end_ids, REFERENCE_TOKENS),
    }

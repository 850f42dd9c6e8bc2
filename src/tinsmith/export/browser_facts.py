"""Facts about a package that a page needs to choose a graph, and a reference answer to check its GPU against."""

from pathlib import Path
from typing import Any

import onnx_ir as ir

from tinsmith.export.onnx_nodes import tensor_of
from tinsmith.model.conversations import Message
from tinsmith.model.onnx_decoder import load_onnx
from tinsmith.model.package_format import DECODER_PLAN_FILE, FLOAT32, list_graphs, weights_files
from tinsmith.model.reference import reference_answer
from tinsmith.model.tokens import ChatTokenizer

REFERENCE_TOKENS = 20
_QUESTION = (
    "Hello! Please tell me in two or three short sentences who you are, what you know about, and which questions you "
    "can answer well; then give me one example of such a question, and say how sure you would be of your answer to it."
)
"""Not from any data set, because it is published. Long enough for the attention kernels of 32 tokens and more."""


def browser_facts(package_dir: Path, tokenizer: ChatTokenizer) -> dict[str, Any]:
    """Content of a package's `browser.json`: its graphs and weights by name, and the reference to check GPUs against.

    `reference` is the float32 graph's answer to a question, computed by ONNX Runtime.
    """
    path = package_dir / FLOAT32.file
    graph = ir.load(path).graph
    prompt_ids = tokenizer.encode_prompt((Message("user", _QUESTION),))
    decoder = load_onnx(path)
    return {
        "graphs": list_graphs(package_dir),
        "decoder_plan": DECODER_PLAN_FILE,
        "weights": [file.name for file in weights_files(path.parent)],
        "largest_tensor_bytes": max(tensor_of(value).nbytes for value in graph.initializers.values()),
        "reference": reference_answer(decoder, prompt_ids, tokenizer.end_ids, REFERENCE_TOKENS),
    }

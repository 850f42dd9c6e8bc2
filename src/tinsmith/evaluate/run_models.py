"""Score every model on the same tokens and let it answer the same questions."""

import gc
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

from tinsmith.evaluate.generate import onnx_answers
from tinsmith.evaluate.inputs import SPLITS, Inputs
from tinsmith.evaluate.nll import load_torch, onnx_scorer, score_conversations, torch_nlls, write_scores
from tinsmith.evaluate.recite import MAX_NEW_TOKENS as RECITAL_TOKENS
from tinsmith.model.generation import Answer, torch_answers
from tinsmith.model.onnx_decoder import OnnxDecoder, load_onnx
from tinsmith.model.package_format import FLOAT32, MEASURED_GRAPHS
from tinsmith.model.tokens import Tokens


def run_models(
    inputs: Inputs, base_dir: Path, merge_dir: Path, package_dir: Path, out_dir: Path
) -> dict[str, list[Answer]]:
    """Write every model's scores to `nll/<split>.<model>.jsonl`. One model is in memory at a time.

    Returns:
        Replies to `inputs.questions` by model; int4's alone to `closed_book` and `out_of_scope`; and how each model
        goes on with the recitals, as `recited.<model>`.
    """
    import torch

    prompts = inputs.prompts
    answers = {}
    for name, model_dir in (("base", base_dir / "model"), ("tuned", merge_dir / "model")):
        model = load_torch(model_dir)
        _score(inputs, partial(torch_nlls, model), name, out_dir)
        answers[name] = torch_answers(model, inputs.tokenizer, prompts, inputs.max_new_tokens, f"{name} answers")
        answers[f"recited.{name}"] = torch_answers(
            model, inputs.tokenizer, inputs.recital_prompts, RECITAL_TOKENS, f"{name} private values"
        )
        del model
        gc.collect()
    for name, graph in MEASURED_GRAPHS.items():
        if graph is not FLOAT32 and not (package_dir / graph.file).exists():
            continue
        decoder = load_onnx(package_dir / graph.file, threads=torch.get_num_threads())
        _score(inputs, partial(map, onnx_scorer(decoder)), name, out_dir, SPLITS if graph is FLOAT32 else ("test",))
        if graph is FLOAT32:
            answers |= _int4_answers(inputs, decoder, prompts)
        del decoder
    return answers


def _score(
    inputs: Inputs,
    nlls_of: Callable[[Sequence[Tokens]], Iterable[float]],
    model: str,
    out_dir: Path,
    splits: Sequence[str] = SPLITS,
) -> None:
    for split in splits:
        tokens, label = inputs.tokens[split], f"{model} on {split}"
        scores = score_conversations(nlls_of(tokens), inputs.conversations[split], tokens, inputs.tokenizer, label)
        write_scores(out_dir / "nll" / f"{split}.{model}.jsonl", scores)


def _int4_answers(inputs: Inputs, decoder: OnnxDecoder, prompts: Sequence[Sequence[int]]) -> dict[str, list[Answer]]:
    """Answers to all questions. A prompt that occurs several times is answered once."""
    unique = list(dict.fromkeys(tuple(prompt) for prompt in (*prompts, *inputs.closed_book_prompts)))
    replies = onnx_answers(decoder, inputs.tokenizer, unique, inputs.max_new_tokens, "int4 answers")
    by_prompt = dict(zip(unique, replies, strict=True))
    recited = onnx_answers(decoder, inputs.tokenizer, inputs.recital_prompts, RECITAL_TOKENS, "int4 private values")
    return {
        "recited.int4": recited,
        "int4": [by_prompt[tuple(prompt)] for prompt in prompts],
        "closed_book": [by_prompt[tuple(prompt)] for prompt in inputs.closed_book_prompts],
        "out_of_scope": onnx_answers(
            decoder,
            inputs.tokenizer,
            inputs.out_of_scope_prompts,
            inputs.out_of_scope_tokens,
            "int4 answers out of scope",
        ),
    }

"""Run the evaluate stage: score base, tuned and int4 on identical token ids, and ask them the same questions."""

import gc
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tinsmith.core import intervals
from tinsmith.core.config import EvaluateConfig
from tinsmith.core.errors import DataError
from tinsmith.core.measure import Recorder
from tinsmith.core.run_dir import combined_sha256, read_json, write_json
from tinsmith.core.stage_context import StageContext, Summary
from tinsmith.derive.evaluate import RULES
from tinsmith.derive.files import Files
from tinsmith.derive.losses import small_categories
from tinsmith.derive.rules import record
from tinsmith.evaluate import answers as comparison
from tinsmith.evaluate.closed_book import closed_book_questions, closed_book_sample, write_closed_book
from tinsmith.evaluate.generate import Question, encode_prompts, first_turn, onnx_answers
from tinsmith.evaluate.nll import (
    Scorer,
    load_torch,
    onnx_scorer,
    score_conversations,
    torch_scorer,
    write_scores,
)
from tinsmith.model.answers.rates import Outcome
from tinsmith.model.conversations import Conversation, read_jsonl
from tinsmith.model.facts import common_words
from tinsmith.model.generation import Answer, torch_answers
from tinsmith.model.onnx_decoder import load_onnx
from tinsmith.model.package_format import FLOAT32, MEASURED_GRAPHS
from tinsmith.model.tokens import ChatTokenizer, Tokens, load_tokenizer

SPLITS = ("train", "val", "test")


@dataclass(frozen=True, slots=True)
class _Inputs:
    """The same token ids in the same order for every model."""

    tokenizer: ChatTokenizer
    conversations: dict[str, list[Conversation]]
    """By split."""
    tokens: dict[str, list[Tokens]]
    """By split, parallel to `conversations`."""
    questions: list[Question]
    prompts: list[list[int]]
    closed_book: list[Outcome]
    """Known questions that int4 answers alone."""
    closed_book_prompts: list[list[int]]
    max_new_tokens: int

    def score(self, scorer: Scorer, model: str, out_dir: Path, splits: Sequence[str] = SPLITS) -> None:
        """Write the raw sums of every conversation to `nll/<split>.<model>.jsonl`."""
        for split in splits:
            label = f"{model} on {split}"
            scores = score_conversations(scorer, self.conversations[split], self.tokens[split], self.tokenizer, label)
            write_scores(out_dir / "nll" / f"{split}.{model}.jsonl", scores)


def evaluate_models(
    config: EvaluateConfig,
    base_dir: Path,
    data_dir: Path,
    knowledge_dir: Path,
    merge_dir: Path,
    export_dir: Path,
    out_dir: Path,
    context: StageContext,
) -> Summary:
    """Write `nll/<split>.<model>.jsonl`, `answers.jsonl`, `closed_book.jsonl` and `evaluate.json`.

    Args:
        config: Sizes of samples and answers.
        base_dir: Holds `model/`, the base model.
        data_dir: Holds `train.jsonl`, `val.jsonl` and `test.jsonl`.
        knowledge_dir: Holds `answers_questions.jsonl`, if the page's answers were measured.
        merge_dir: Holds `model/`, the tuned model.
        export_dir: Holds `package/`, the browser package.
        out_dir: Existing and empty.
        context: Its seed draws the samples and the bootstrap.

    Raises:
        DataError: a split is empty.
        ArtifactError: a model is missing or gives likelihoods that are not finite.
        GateError: the package's tokenizer or chat template gives different ids than the base's.
    """
    package_dir = export_dir / "package"
    conversations = _read_splits(data_dir)
    common = common_words(m.content for split in SPLITS for c in conversations[split] for m in c.messages)
    closed_book = closed_book_sample(knowledge_dir, context.seed)
    inputs = _inputs(config, base_dir, conversations, closed_book, context.seed)
    recorder, seed = context.recorder, context.seed
    files = Files.of_stage("evaluate", out_dir, seed)
    _write_token_differences(inputs, package_dir, out_dir)
    record(recorder, RULES, files, "gate.")
    answers = _run_models(inputs, base_dir, merge_dir, package_dir, out_dir)
    if inputs.questions:
        items = comparison.compare(inputs.questions, answers, common)
        comparison.write_answers(out_dir / "answers.jsonl", items)
        comparison.record_answers(recorder, items, "evaluate/answers.jsonl", seed)
    closed_book_record = write_closed_book(closed_book, answers.get("closed_book", []), out_dir)
    record(recorder, RULES, files, "evaluate.")
    description = _record(config, inputs, small_categories(files))
    write_json(out_dir / "evaluate.json", description | {"closed_book": closed_book_record})
    return tuple(_summary(recorder))


def _read_splits(data_dir: Path) -> dict[str, list[Conversation]]:
    conversations = {split: read_jsonl(data_dir / f"{split}.jsonl") for split in SPLITS}
    for split in SPLITS:
        if not conversations[split]:
            raise DataError(
                f"the {split} split has no conversations, so there is nothing to measure on it",
                "Add conversations." if split == "train" else f"Add conversations, or raise data.{split}_fraction.",
            )
    return conversations


def _inputs(
    config: EvaluateConfig,
    base_dir: Path,
    conversations: dict[str, list[Conversation]],
    closed_book: list[Outcome],
    seed: int,
) -> _Inputs:
    tokenizer = load_tokenizer(base_dir / "model")
    scored = {**conversations, "train": _sample(conversations["train"], config.train_sample, f"{seed} train")}
    questions = sample_questions(conversations["test"], config.questions, seed)
    return _Inputs(
        tokenizer,
        scored,
        {split: tokenizer.encode_all(scored[split]) for split in SPLITS},
        questions,
        encode_prompts(tokenizer, questions),
        closed_book,
        encode_prompts(tokenizer, closed_book_questions(closed_book, conversations["train"])),
        config.max_new_tokens,
    )


def sample_questions(test: Sequence[Conversation], count: int, seed: int) -> list[Question]:
    """Up to `count` first turns of the test split, drawn by `seed`."""
    return [first_turn(conversation) for conversation in _sample(test, count, f"{seed} questions")]


def _sample(conversations: Sequence[Conversation], size: int, seed: str) -> list[Conversation]:
    """Up to `size` of `conversations`, drawn without replacement, in their original order."""
    indices = random.Random(seed).sample(range(len(conversations)), min(size, len(conversations)))
    return [conversations[index] for index in sorted(indices)]


def _write_token_differences(inputs: _Inputs, package_dir: Path, out_dir: Path) -> None:
    """Write `tokens.json`: the scored conversations that the package's tokenizer and chat template encode otherwise."""
    package = load_tokenizer(package_dir).tokenizer
    # Transformers.js reads only this template; Transformers would prefer the .jinja file.
    template = read_json(package_dir / "tokenizer_config.json").get("chat_template", "")
    different, count = [], 0
    for split in SPLITS:
        for conversation, tokens in zip(inputs.conversations[split], inputs.tokens[split], strict=True):
            text = package.apply_chat_template(conversation.as_dicts(), chat_template=template, tokenize=False)
            ids = package(text, add_special_tokens=False)["input_ids"]
            count += 1
            if list(tokens.ids) != ids:
                different.append(conversation.id)
    write_json(out_dir / "tokens.json", {"conversations": count, "different": different})


def _run_models(
    inputs: _Inputs, base_dir: Path, merge_dir: Path, package_dir: Path, out_dir: Path
) -> dict[str, list[Answer]]:
    """Write every model's scores, and return answers by model and, as `closed_book`, int4's to known questions.

    One model is in memory at a time.
    """
    import torch

    answers = {}
    for name, model_dir in (("base", base_dir / "model"), ("tuned", merge_dir / "model")):
        model = load_torch(model_dir)
        inputs.score(torch_scorer(model), name, out_dir)
        if inputs.prompts:
            answers[name] = torch_answers(
                model, inputs.tokenizer, inputs.prompts, inputs.max_new_tokens, f"{name} answers"
            )
        del model
        gc.collect()
    for name, graph in MEASURED_GRAPHS.items():
        if graph is not FLOAT32 and not (package_dir / graph.file).exists():
            continue
        decoder = load_onnx(package_dir / graph.file, threads=torch.get_num_threads())
        splits = SPLITS if graph is FLOAT32 else ("test",)
        inputs.score(onnx_scorer(decoder), name, out_dir, splits)
        prompts = {name: inputs.prompts, "closed_book": inputs.closed_book_prompts} if graph is FLOAT32 else {}
        for key, asked in prompts.items():
            if asked:
                label = f"{key.replace('_', ' ')} answers"
                answers[key] = onnx_answers(decoder, inputs.tokenizer, asked, inputs.max_new_tokens, label)
        del decoder
    return answers


def _record(config: EvaluateConfig, inputs: _Inputs, too_small: list[str]) -> dict:
    """Description of the methods and of what the numbers mean."""
    question_ids = [question.id for question in inputs.questions]
    not_assessed = {"status": "not_assessed", "reason": "No person and no judge has assessed the answers."}
    return {
        "definitions": "docs/measurements.md",
        "precision": {
            "base": "weights as stored, computed in float32",
            "tuned": "bf16 weights as stored, computed in float32",
            **{
                name: f"{graph.file} of the package, if it has one, on ONNX Runtime's CPU provider"
                for name, graph in MEASURED_GRAPHS.items()
            },
        },
        "decoding": {
            "method": "greedy, no repetition penalty",
            "max_new_tokens": config.max_new_tokens,
            "prompt": "the first user message with the system message before it",
            "end_tokens": inputs.tokenizer.tokenizer.convert_ids_to_tokens(list(inputs.tokenizer.end_ids)),
        },
        "intervals": {
            "losses, ratios, key-fact recall": "95 % percentile bootstrap over conversations, "
            f"{intervals.RESAMPLES} resamples; Wilson over questions for a recall of none or all",
            "stop rate, repetition rate": "95 % Wilson",
            "none below": intervals.MIN_CLUSTERS,
        },
        "repetition": "some sequence of 4 words occurs at least 3 times in the answer, ignoring case and punctuation",
        "key_facts": (
            "numbers with unit or currency, capitalised names, URLs and e-mail addresses of the reference that are not "
            "in the question or system prompt; matched automatically on normalised values and whole words, which does "
            "not judge correctness"
        ),
        "samples": {
            split: {
                "conversations": len(inputs.conversations[split]),
                "ids_sha256": combined_sha256([conversation.id for conversation in inputs.conversations[split]]),
            }
            for split in SPLITS
        }
        | {"questions": {"conversations": len(question_ids), "ids_sha256": combined_sha256(question_ids)}},
        "categories_without_number": too_small,
        "accuracy": not_assessed,
        "response_quality": not_assessed,
    }


def _summary(recorder: Recorder) -> list[str]:
    """Summary lines, with a warning first if the model did not learn."""
    values = {measurement.id: measurement.value for measurement in recorder.measurements}
    test = {model: values[f"evaluate.perplexity.test.{model}"] for model in ("base", "tuned", "int4")}
    ratios = {name: values[f"evaluate.ratio.test.{name}"] for name in ("tuned_over_base", "int4_over_tuned")}
    lines = []
    if ratios["tuned_over_base"] >= 1:
        lines.append(
            "warning: the tuned model is no better than the base on the test split; check the data and the training"
        )
    lines.append(
        f"test perplexity: base {test['base']:.2f}, "
        f"tuned {test['tuned']:.2f} ({ratios['tuned_over_base']:.2f} of base), "
        f"int4 {test['int4']:.2f} ({ratios['int4_over_tuned']:.2f} of tuned)"
    )
    if "evaluate.answers.stop_rate.int4" in values:
        recall = values.get("evaluate.answers.key_fact_recall.int4")
        facts = f", {recall:.0%} of key facts stated" if recall is not None else ", no key facts to look for"
        lines.append(f"int4 answers: {values['evaluate.answers.stop_rate.int4']:.0%} stop by themselves{facts}")
    return lines

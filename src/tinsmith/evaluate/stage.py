"""Run the evaluate stage: score base, tuned and int4 on identical token ids, and ask them the same questions."""

from dataclasses import asdict
from pathlib import Path

from tinsmith.core.config import EvaluateConfig
from tinsmith.core.errors import DataError
from tinsmith.core.measure import Recorder
from tinsmith.core.run_dir import read_json, write_json
from tinsmith.core.stage_context import StageContext, Summary
from tinsmith.derive.evaluate import RULES
from tinsmith.derive.files import Files
from tinsmith.derive.private import REPLY_RULES as PRIVATE_REPLY_RULES
from tinsmith.derive.rules import record
from tinsmith.evaluate.answers import ask_all
from tinsmith.evaluate.closed_book import write_closed_book
from tinsmith.evaluate.description import absent_reasons, description
from tinsmith.evaluate.inputs import SPLITS, Inputs, read_inputs
from tinsmith.evaluate.neighbours import COSINE, FILE, GRAMS, Similarity, nearest_neighbours, write_neighbours
from tinsmith.evaluate.page import open_answers, page_replies
from tinsmith.evaluate.recite import FILE as RECITED_FILE
from tinsmith.evaluate.recite import write_recited
from tinsmith.evaluate.run_models import run_models
from tinsmith.model.conversations import Conversations, read_jsonl
from tinsmith.model.facts import common_words
from tinsmith.model.generation import Answer
from tinsmith.model.replies.asked import MODELS, write_lines
from tinsmith.model.replies.reply_format import format_of
from tinsmith.model.tokens import load_tokenizer


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
    """Write scores, replies, neighbours, and `evaluate.json`; docs/pipeline.md lists the files.

    Args:
        config: Sizes of samples and answers.
        base_dir: Holds `model/`, the base model.
        data_dir: Holds `train.jsonl`, `val.jsonl` and `test.jsonl`.
        knowledge_dir: Holds `answers/` and `answers_questions.jsonl`, if the page has passages.
        merge_dir: Holds `model/`, the tuned model.
        export_dir: Holds `package/`, the browser package.
        out_dir: Existing and empty.
        context: Its seed draws the samples and the bootstrap.

    Raises:
        DataError: a split is empty.
        ArtifactError: a model is missing or gives likelihoods that are not finite.
        GateError: the package's tokenizer or chat template gives different ids than the base's, or a reply contains
            a value that `data.privacy` hides.
    """
    package_dir = export_dir / "package"
    conversations = _read_splits(data_dir)
    inputs = read_inputs(config, base_dir, data_dir, knowledge_dir, conversations, out_dir, context.seed)
    recorder, files = context.recorder, Files.of_stage("evaluate", out_dir, context.seed)
    _write_token_differences(inputs, package_dir, out_dir)
    record(recorder, RULES, files, "gate.")
    replies = run_models(inputs, base_dir, merge_dir, package_dir, out_dir)
    similarity = _write_replies(inputs, conversations, replies, knowledge_dir, out_dir)
    recited = {model: replies[f"recited.{model}"] for model in MODELS}
    write_recited(out_dir / RECITED_FILE, inputs.recitals, recited)
    closed_book = write_closed_book(inputs.closed_book, replies["closed_book"], out_dir)
    record(recorder, RULES, files, "evaluate.")
    folders = {"evaluate": out_dir, "data": data_dir, "knowledge": knowledge_dir}
    record(recorder, PRIVATE_REPLY_RULES, Files.of_stages(folders))
    reasons = {"closed_book": closed_book, "absent": absent_reasons(inputs, files)}
    write_json(out_dir / "evaluate.json", description(inputs, files, similarity) | reasons)
    return tuple(_summary(recorder))


def _write_replies(
    inputs: Inputs,
    conversations: dict[str, Conversations],
    replies: dict[str, list[Answer]],
    knowledge_dir: Path,
    out_dir: Path,
) -> Similarity:
    """Write `answers.jsonl`, `out_of_scope.jsonl`, `format.json` and `neighbours.jsonl`.

    Returns:
        How test conversations were compared with training conversations.
    """
    train, questions = conversations["train"], inputs.questions
    answers = open_answers(knowledge_dir)
    if questions:
        page = page_replies(answers, questions, [reply.text for reply in replies["int4"]]) if answers else None
        common = common_words(m.content for split in SPLITS for c in conversations[split] for m in c.messages)
        by_model = {model: replies[model] for model in MODELS}
        write_lines(
            out_dir / "answers.jsonl",
            (one.as_dict() for one in ask_all(questions, by_model, page, train, common)),
        )
    if inputs.out_of_scope:
        write_lines(
            out_dir / "out_of_scope.jsonl",
            (
                {"kind": question.group, "question": question.question, "system": question.system, **asdict(reply)}
                for question, reply in zip(inputs.out_of_scope, replies["out_of_scope"], strict=True)
            ),
        )
    reply_format = format_of(lambda: (m.content for c in train for m in c.messages if m.role == "assistant"))
    if reply_format:
        write_json(out_dir / "format.json", reply_format.as_dict())
    encoder, similarity = (answers.encoders[0], COSINE) if answers else (None, GRAMS)
    write_neighbours(out_dir / FILE, nearest_neighbours(conversations["test"], train, encoder), similarity)
    return similarity


def _read_splits(data_dir: Path) -> dict[str, Conversations]:
    conversations = {split: read_jsonl(data_dir / f"{split}.jsonl") for split in SPLITS}
    for split in SPLITS:
        if not conversations[split]:
            raise DataError(
                f"the {split} split has no conversations, so there is nothing to measure on it",
                "Add conversations." if split == "train" else f"Add conversations, or raise data.{split}_fraction.",
            )
    return conversations


def _write_token_differences(inputs: Inputs, package_dir: Path, out_dir: Path) -> None:
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
        stopped = values["evaluate.answers.stop_rate.int4"]
        lines.append(f"int4 answers: {stopped:.0%} stop by themselves{_facts(values)}")
    return lines


def _facts(values: dict[str, float]) -> str:
    """How many facts int4 states, as the end of a sentence; empty if that was not measured."""
    shares = (
        (name, values.get(f"evaluate.facts.{group}.int4"))
        for group, name in (
            ("trained", "trained questions"),
            ("reworded", "reworded ones"),
            ("held_out_new", "unseen ones"),
        )
    )
    return "".join(f", {share:.0%} of the facts of {name} stated" for name, share in shares if share is not None)

"""Measurements in words, as on the card, and which of two values is better."""

import re
from dataclasses import dataclass

from tinsmith.card.answers import ANSWER_ROWS, CONTROL_WORDS, KIND_WORDS
from tinsmith.model.answers.judge import CONTROLS

LOWER, HIGHER = "lower", "higher"

_WORDS = {
    "train": "training split",
    "val": "validation split",
    "test": "test split",
    "test_clean": "test split without close neighbours",
    "base": "base",
    "tuned": "fine-tuned",
    "int4": "INT4 package",
    "int4_float16": "INT4 package in float16",
    "int4_int8": "INT4 package in INT8",
    "wasm": "WASM",
    "webgpu": "WebGPU",
    "review": "people",
    "judge": "a language model",
    "accuracy": "Accuracy",
    "factual": "Factual correctness",
    "quality": "Response quality",
    "trained": "training questions",
    "reworded": "training questions in other words",
    "held_out": "held-out questions",
    "page": "chat page",
    "reference": "reference answers",
    "loss": "Loss",
    "perplexity": "Perplexity",
    "bits_per_byte": "Bits per byte",
    "sure": "gave a passage as the answer",
    "likely": 'showed one as "closest to your question"',
    "silent": "found no passage close enough",
    "unsure": "said that it does not know",
    "held_out_seen": "held-out questions, stated in training answers too",
    "held_out_new": "held-out questions, in no training answer",
    "held_out_seen_clean": "held-out questions without close neighbours, stated in training answers too",
    "held_out_new_clean": "held-out questions without close neighbours, in no training answer",
    "reversed": "numbers in reverse order",
    "swapped": "the answer to another question",
    "negated": "denied",
    "soup": "a soup of values",
}
_SPLIT, _MODEL, _DEVICE = "(train|val|test|test_clean)", "(base|tuned|int4|int4_float16|int4_int8)", "(wasm|webgpu)"
_CRITERION, _GROUP = "(accuracy|factual|quality)", "(trained|reworded|held_out)"
_SUBJECT, _CONTROL = "(base|tuned|int4|page|reference)", "(reversed|swapped|negated|soup)"
_FACTS = "(trained|reworded|held_out_(?:seen|new)(?:_clean)?)"
_PAIR = "(base|tuned|int4|page)_minus_(base|tuned|int4|page)"
_PATTERNS = (
    (rf"evaluate\.(loss|perplexity|bits_per_byte)\.{_SPLIT}\.{_MODEL}", "{0}, {1}, {2}", LOWER),
    (rf"evaluate\.loss\.{_SPLIT}\.{_MODEL}\.category\.(.+)", "Loss, {0}, {1}, category {2}", LOWER),
    (rf"evaluate\.ratio\.{_SPLIT}\.{_MODEL}_over_{_MODEL}", "Perplexity, {0}, {1} over {2}", LOWER),
    (rf"evaluate\.answers\.stop_rate\.{_MODEL}", "Answers that stop by themselves, {0}", HIGHER),
    (rf"evaluate\.answers\.repetition_rate\.{_MODEL}", "Answers that repeat themselves, {0}", LOWER),
    (rf"(review|judge)\.{_CRITERION}\.{_SUBJECT}", "{1} out of 10, judged by {0}, {2}", HIGHER),
    (rf"review\.{_CRITERION}\.{_GROUP}\.{_SUBJECT}", "{0} out of 10, judged by people, {1}, {2}", HIGHER),
    (rf"review\.facts\.{_SUBJECT}", "Facts confirmed by people that replies state, {0}", HIGHER),
    (rf"review\.alpha\.{_CRITERION}", "Agreement of raters (alpha): {0}", ""),
    (rf"evaluate\.answers\.format_valid\.{_MODEL}", "Replies with valid JSON, {0}", HIGHER),
    (rf"evaluate\.answers\.length\.{_SUBJECT}", "Median words of a reply, {0}", ""),
    (rf"evaluate\.facts\.wrong_numbers\.{_SUBJECT}", "Stated numbers that are wrong, {0}", LOWER),
    (rf"evaluate\.facts\.{_FACTS}\.{_SUBJECT}", "Facts stated, {0}, {1}", HIGHER),
    (rf"evaluate\.contradicted\.{_FACTS}\.{_SUBJECT}", "Facts contradicted, {0}, {1}", LOWER),
    (rf"evaluate\.facts\.control\.{_CONTROL}", "Facts found in wrong replies: {0}", LOWER),
    (rf"evaluate\.memorised\.{_GROUP}\.{_MODEL}", "Answers repeated word for word, {0}, {1}", ""),
    (r"evaluate\.refused\.(near|far)\.int4", "INT4 alone admits not to know, {0} questions", HIGHER),
    (rf"evaluate\.questions\.{_GROUP}", "Questions, {0}", ""),
    (rf"evaluate\.difference\.facts\.{_FACTS}\.{_PAIR}", "Facts stated, {0}, {1} less {2}", HIGHER),
    (rf"evaluate\.difference\.closed_book\.{_PAIR}", "Right answers, {0} less {1} alone", HIGHER),
    (rf"evaluate\.detectable\.ratio\.{_MODEL}_over_{_MODEL}", "Detectable perplexity ratio, {0} over {1}", LOWER),
    (rf"evaluate\.detectable\.facts\.{_FACTS}\.{_PAIR}", "Detectable difference of facts, {0}, {1} less {2}", LOWER),
    (rf"evaluate\.detectable\.closed_book\.{_PAIR}", "Detectable difference of right answers, {0} less {1}", LOWER),
    (r"evaluate\.category_p_value\.(.+)", "Chance of a loss this far from the others, category {0}", ""),
    (r"judge\.control\.(\w+)", "Known replies that the language model accepted, {0}", ""),
    (rf"judge\.preferred\.{_SUBJECT}", "Preferred by a language model in both orders, {0}", HIGHER),
    (rf"judge\.agreement\.{_CRITERION}", "Language model and people agree: {0}", ""),
    (rf"evaluate\.questions_with_facts\.{_FACTS}", "Questions with a fact, {0}", ""),
    (r"answers\.known\.right_when\.(sure|likely|unsure)", "First passage was right when it {0}", HIGHER),
    *(
        (rf"(?:bench|remote\.\d+)\.{_DEVICE}\.{key}{length}", template.format("{0}", of_length), better)
        for key, template, better in (
            ("load_seconds", "{0}: time to load", LOWER),
            ("warm_load_seconds", "{0}: time to load again", LOWER),
            ("first_token_seconds", "{0}: first token{1}", LOWER),
            ("decode_tokens_per_second", "{0}: decoding{1}", HIGHER),
            ("prefill_tokens_per_second", "{0}: reading the prompt{1}", HIGHER),
            ("peak_memory_bytes", "{0}: peak memory of the tab", LOWER),
            ("fetched_bytes", "{0}: downloaded by the page", LOWER),
            ("prompt_tokens", "{0}: tokens of the prompt{1}", ""),
            ("new_tokens", "{0}: tokens of the answer{1}", ""),
            ("threads", "{0}: threads", ""),
        )
        for length, of_length in (("", ""), (r"\.(\d+)", ", prompts of about {1} tokens"))
    ),
    (r"export\.recipe\.(\w+)\.perplexity_ratio", "Recipe {0}: perplexity, INT4 over fine-tuned", LOWER),
    (r"export\.recipe\.(\w+)\.weights_bytes", "Recipe {0}: size of matrices", LOWER),
    (r"export\.recipe\.(\w+)\.seconds", "Recipe {0}: time", LOWER),
    (r"data\.conversations\.(train|val|test)", "Conversations, {0}", ""),
    (r"data\.tokens\.(train|val|test)", "Tokens, {0}", ""),
    (r"data\.supervised_tokens\.(train|val|test)", "Supervised tokens, {0}", ""),
    (r"data\.records\.(\w+)", "Records, {0}", ""),
    (r"data\.category\.(.+)", "Share of category {0}", ""),
    (r"data\.step\.(.+)\.after", "Conversations after the step {0}", ""),
    (r"knowledge\.encoder\.(\w+)\.bytes", "Size of the encoder {0}", LOWER),
)
_EXACT = {
    "base.parameters": ("Parameters", ""),
    "review.raters": ("People who reviewed", ""),
    "judge.consistency": ("Language model grades alike when asked again", ""),
    "judge.order_consistency": ("Language model prefers the same reply in both orders", ""),
    "answers.known.right_shown": ("Questions that a passage answers: offered the right passage", HIGHER),
    "answers.known.wrong_shown": ("Questions that a passage answers: offered a wrong passage", LOWER),
    "base.files_bytes": ("Size of the base model", ""),
    "data.conversations.total": ("Conversations", ""),
    "data.truncated": ("Conversations that were cut", ""),
    "data.contradictions": ("Pairs of answers that seem to contradict each other", ""),
    "knowledge.passages": ("Passages", ""),
    "knowledge.download_bytes": ("Download to find passages", LOWER),
    "train.loss.last": ("Final training loss", ""),
    "train.loss.best_val": ("Best validation loss while training", LOWER),
    "train.elapsed_seconds": ("Training time", LOWER),
    "train.tokens_per_second": ("Training speed", HIGHER),
    "train.peak_memory_bytes": ("Peak memory of training", LOWER),
    "train.planned_memory_bytes": ("Memory that training planned", ""),
    "export.weights_bytes": ("Weights to download", LOWER),
    "export.download_bytes": ("Model size, browser-ready", LOWER),
    "export.gguf_bytes": ("Size of the GGUF file", LOWER),
    "export.bits_per_parameter": ("Bits per parameter", LOWER),
    "export.block_size": ("Weights that share a scale", ""),
    "export.calibration_conversations": ("Conversations for calibration", ""),
    "export.seconds": ("Time of the export", LOWER),
    "export.float16_range": ("Share of float16's range that values use", ""),
}
_BETTER = {
    "right": HIGHER,
    "right_in_3": HIGHER,
    "page_right": HIGHER,
    "refused": HIGHER,
    "resisted": HIGHER,
    "wrong": LOWER,
    "wrong_likely": LOWER,
    "right_shown": HIGHER,
    "wrong_shown": LOWER,
}
_RATES = {
    **{
        f"answers.{kind}.{rung}": (f"{words}: {_WORDS[rung]}", "")
        for kind, words in KIND_WORDS.items()
        for rung in ("sure", "likely", "silent")
    },
    **{id: (f"{kind}: {what}", _BETTER.get(id.split(".")[-1], "")) for kind, rows in ANSWER_ROWS for id, what in rows},
    **{
        f"answers.control.{name}": (f"The judge accepted {what}", LOWER)
        for name, what in zip(CONTROLS, CONTROL_WORDS, strict=True)
    },
}


@dataclass(frozen=True, slots=True)
class Name:
    """A measurement in words."""

    words: str
    better: str
    """`lower` or `higher`; empty where neither is better, as for counts and gates."""


def name_of(id: str) -> Name:
    """The words for a measurement id. Gates keep their ids, as on the card; so do ids without words."""
    if id in _EXACT or id in _RATES:
        return Name(*(_EXACT | _RATES)[id])
    for pattern, template, better in _PATTERNS:
        if match := re.fullmatch(pattern, id):
            return Name(template.format(*(_WORDS.get(part, part) for part in match.groups())), better)
    if id.startswith("train."):
        words = id.removeprefix("train.").replace("_", " ")
        return Name(words[0].upper() + words[1:], "")
    return Name(id, "")

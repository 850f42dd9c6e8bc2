"""The whole card in words, and the numbers in it by what they mean.

`golden.md`, `golden_evidence.md` and the files for programs are the card of the made-up run, without its digests. A
change shows there as a difference to read: `make golden` writes them anew. What must hold whatever the wording is
tested by meaning, here and in the other files.
"""

import re
from pathlib import Path

import pytest

from tinsmith.core.measure import current_measurements

GOLDEN = {
    "README.md": "golden.md",
    "EVIDENCE.md": "golden_evidence.md",
    "bom.cdx.json": "golden_bom.json",
    "croissant.json": "golden_croissant.json",
    "CITATION.cff": "golden_citation.cff",
}
_DIGESTS = re.compile(r"\b[0-9a-f]{64}\b|(?<=sha-256;)[\w-]{43}|(?<=urn:uuid:)[0-9a-f-]{36}")


def page_of(run, name="README.md") -> str:
    return (run.stage("card") / name).read_text()


def without_digests(text: str) -> str:
    return _DIGESTS.sub(lambda match: "0" * len(match[0]), text)


@pytest.mark.parametrize("name", GOLDEN)
def test_the_card_is_the_golden_one(full_run, pytestconfig, name):
    page, golden = page_of(full_run, name), Path(__file__).parent / GOLDEN[name]
    if name.endswith((".json", ".cff")):
        page = without_digests(page)  # they depend on what other stages write
    if pytestconfig.getoption("--update-golden"):
        golden.write_text(page)
    assert page == golden.read_text(), "if the new card is right: make golden, and commit the difference"


def numbers_in(text: str) -> list[float]:
    return [float(number.replace(",", "")) for number in re.findall(r"\d[\d,]*(?:\.\d+)?(?:e-?\d+)?", text)]


@pytest.mark.parametrize(
    ("place", "ids"),
    [
        ("**Base Model**", {"base.parameters": 1}),
        ("**Fine-tuning Method**", {"train.lora_rank": 1, "train.lora_alpha": 1}),
        ("**Quantization**", {"export.bits_per_parameter": 1}),
        ("**Model Size**", {"export.download_bytes": 1e-3, "knowledge.download_bytes": 1e-3}),
        ("**Dataset Size**", {f"data.conversations.{split}": 1 for split in ("total", "train", "val", "test")}),
        ("**Training Time**", {"train.elapsed_seconds": 1 / 60}),
        ("**Batch Size**", {"train.batch_size": 1, "train.effective_batch_size": 1}),
        ("**Learning Rate**", {"train.learning_rate": 1}),
        ("**Final Training Loss**", {"train.loss.last": 1}),
        ("**Validation Loss**", {"evaluate.loss.val.tuned": 1}),
        ("| Perplexity (Base)", {"evaluate.perplexity.test.base": 1}),
        ("| Perplexity (Fine-tuned)", {"evaluate.perplexity.test.tuned": 1}),
        ("| Perplexity (INT4", {"evaluate.perplexity.test.int4": 1}),
        (
            "**Known questions**",
            {f"answers.known.{what}": 100 for what in ("right_shown", "wrong_shown", "silent")},
        ),
        ("**Questions about something else**", {"answers.far.refused": 100}),
        ("**Known questions to the model alone**", {"evaluate.closed_book.right": 100}),
        ("| Testor 9000", {"bench.wasm.decode_tokens_per_second": 1}),
        ("| Pixel", {"remote.1.wasm.decode_tokens_per_second": 1}),
    ],
)
def test_a_measured_number_is_where_its_name_says(full_run, place, ids):
    assert_numbers(full_run, "README.md", place, ids)


@pytest.mark.parametrize(
    ("place", "ids"),
    [
        ("**Trained Weights**", {"train.trainable_parameters": 1}),
        ("**INT4 Weights**", {"export.download_bytes": 1e-3, "export.weights_bytes": 1e-3}),
        ("| Loss, test text", {f"evaluate.loss.test.{model}": 1 for model in ("base", "tuned", "int4")}),
        ("| Questions that a passage answers", {"answers.known.right": 100}),
        ("|  | gave a wrong passage as the answer", {"answers.known.wrong": 100}),
        ("| The same, asked of the model alone", {"evaluate.closed_book.right": 100}),
        ("| Questions about something else", {"answers.far.refused": 100}),
        ("| Gave a passage as the answer", {"answers.known.sure": 100, "answers.known.right_when.sure": 100}),
        ("tea/mini-encoder", {"knowledge.encoder.minilm.bytes": 1}),
        ("INT4 over fine-tuned", {"evaluate.ratio.test.int4_over_tuned": 1}),
        ("| Testor 9000", {"bench.wasm.decode_tokens_per_second": 1, "bench.wasm.first_token_seconds": 1}),
        ("| google", {"bench.webgpu.decode_tokens_per_second": 1}),
        ("| Pixel", {"remote.1.wasm.decode_tokens_per_second": 1, "remote.1.wasm.load_seconds": 1}),
        ("| `gate.merge.adapter_norm`", {"gate.merge.adapter_norm": 1}),
    ],
)
def test_a_measured_number_is_where_the_evidence_says(full_run, place, ids):
    assert_numbers(full_run, "EVIDENCE.md", place, ids)


def assert_numbers(run, name, place, ids):
    """`ids` are measurements and what one of their units is of the unit on the card."""
    (line,) = [line for line in page_of(run, name).split("\n") if line.removeprefix("- ").startswith(place)][:1]
    values = {one.id: one.value for one in current_measurements(run)}
    for id, scale in ids.items():
        assert any(number == pytest.approx(values[id] * scale, rel=0.03) for number in numbers_in(line)), (id, line)


def test_a_number_of_few_conversations_says_of_how_many(full_run):
    (line,) = [line for line in page_of(full_run).split("\n") if line.startswith("| Perplexity (Fine-tuned)")]
    assert line.rstrip(" |").endswith("15 conversations")


@pytest.mark.parametrize("words", ["Rp 33k", "Rp 32k or so", "Rp 32k \\| \\*each\\*"])
def test_answers_are_quoted_in_one_line_and_escaped(full_run, words):
    lines = page_of(full_run, "EVIDENCE.md").split("\n")
    assert any(line.startswith(">") and line.endswith(words) for line in lines)

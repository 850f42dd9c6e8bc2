"""The whole card in words, and the numbers in it by what they mean.

`golden.md` is the card of the made-up run. A change of wording shows there as a difference to read: `make golden`
writes it anew. What must hold whatever the wording is tested by meaning, here and in the other files.
"""

import re
from pathlib import Path

import pytest

from tinsmith.core.measure import current_measurements

GOLDEN = Path(__file__).parent / "golden.md"


def page_of(run) -> str:
    return (run.stage("card") / "README.md").read_text()


def test_the_card_is_the_golden_one(full_run, pytestconfig):
    page = page_of(full_run)
    if pytestconfig.getoption("--update-golden"):
        GOLDEN.write_text(page)
    assert page == GOLDEN.read_text(), "if the new card is right: make golden, and commit the difference"


def numbers_in(text: str) -> list[float]:
    return [float(number.replace(",", "")) for number in re.findall(r"\d[\d,]*(?:\.\d+)?(?:e-?\d+)?", text)]


@pytest.mark.parametrize(
    ("place", "ids"),
    [
        ("**Base Model**", {"base.parameters": 1}),
        ("**Fine-tuning Method**", {"train.lora_rank": 1, "train.lora_alpha": 1, "train.trainable_parameters": 1}),
        ("**Quantization**", {"export.bits_per_parameter": 1}),
        ("**Model Size**", {"export.download_bytes": 1e-6, "export.weights_bytes": 1e-6}),
        ("**Dataset Size**", {f"data.conversations.{split}": 1 for split in ("total", "train", "val", "test")}),
        ("**Training Time**", {"train.elapsed_seconds": 1 / 60}),
        ("**Batch Size**", {"train.batch_size": 1, "train.effective_batch_size": 1}),
        ("**Learning Rate**", {"train.learning_rate": 1}),
        ("**Final Training Loss**", {"train.loss.last": 1}),
        ("**Validation Loss**", {"evaluate.loss.val.tuned": 1}),
        ("| Perplexity (Base)", {"evaluate.perplexity.test.base": 1}),
        ("| Perplexity (Fine-tuned)", {"evaluate.perplexity.test.tuned": 1, "evaluate.perplexity.test.int4": 1}),
        (
            "| Key facts of held-out answers",
            {f"evaluate.answers.key_fact_recall.{m}": 100 for m in ("base", "tuned", "int4")},
        ),
        ("| Questions that a passage answers", {"answers.known.right": 100}),
        ("|  | gave a wrong passage as the answer", {"answers.known.wrong": 100}),
        ("| The same, asked of the model alone", {"evaluate.closed_book.right": 100}),
        ("| Questions about something else", {"answers.far.refused": 100}),
        ("| Gave a passage as the answer", {"answers.known.sure": 100, "answers.known.right_when.sure": 100}),
        ("tea/mini-encoder", {"knowledge.encoder.minilm.bytes": 1e-6}),
        ("**Quantization Loss**", {"evaluate.ratio.test.int4_over_tuned": 1}),
        ("**Worst Category**", {"evaluate.loss.test.int4.category.cat_01": 1}),
        ("**Performance**", {"bench.wasm.decode_tokens_per_second": 1}),
        ("| Testor 9000", {"bench.wasm.decode_tokens_per_second": 1, "bench.wasm.first_token_seconds": 1}),
        ("| google", {"bench.webgpu.decode_tokens_per_second": 1}),
        ("| Pixel", {"remote.1.wasm.decode_tokens_per_second": 1, "remote.1.wasm.load_seconds": 1}),
        ("| `gate.merge.adapter_norm`", {"gate.merge.adapter_norm": 1}),
    ],
)
def test_a_measured_number_stands_where_its_name_says(full_run, place, ids):
    """`ids` are measurements and what one of their units is of the unit on the card."""
    (line,) = [line for line in page_of(full_run).split("\n") if line.removeprefix("- ").startswith(place)][:1]
    values = {one.id: one.value for one in current_measurements(full_run)}
    for id, scale in ids.items():
        assert any(number == pytest.approx(values[id] * scale, rel=0.03) for number in numbers_in(line)), (id, line)


def test_a_number_of_few_conversations_says_of_how_many(full_run):
    (line,) = [line for line in page_of(full_run).split("\n") if line.startswith("| Perplexity (Fine-tuned)")]
    assert line.rstrip(" |").endswith("15 conversations")


@pytest.mark.parametrize("words", ["Rp 33k", "Rp 32k or so", "Rp 32k \\| \\*each\\*"])
def test_answers_are_quoted_in_one_line_and_escaped(full_run, words):
    assert any(line.startswith(">") and line.endswith(words) for line in page_of(full_run).split("\n"))

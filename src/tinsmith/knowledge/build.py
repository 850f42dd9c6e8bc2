"""Build a folder of answers: passages, pruned encoders, and the passages' vectors."""

import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from tinsmith.core.run_dir import read_json, write_bytes, write_checksums, write_json, write_text
from tinsmith.knowledge.encoders import E5, ENCODERS, MAX_QUESTION_TOKENS, MAX_TOKENS, MINILM, EncoderSource
from tinsmith.model.answers.encoder import Encoder
from tinsmith.model.answers.encoder_file import EncoderWeights, write_encoder
from tinsmith.model.answers.grams import Overlap, joined, words_of
from tinsmith.model.answers.ladder import Ladder
from tinsmith.model.answers.prune import prune, token_names
from tinsmith.model.answers.publish import PASSAGES_FILE, SETTINGS_FILE
from tinsmith.model.answers.q4 import pack_rows, unpack_rows
from tinsmith.model.answers.ranking import Index, Ranker, RowCounts, Settings
from tinsmith.model.passages import Passage

RANKING = Settings(candidates=50, lexical=1.0, sentence_candidates=500, question_margin=1.25)
"""Measured in docs/experiments/answers.md."""
_LEXICAL_WITH_WORDINGS = 2.0
"""Weight of the overlap if most passages have wordings, which share more words with visitors than answers do."""
_VOCABULARY = {"minilm": 9_500, "e5": 8_000}
"""Tokens kept of an encoder, if the owner's words do not need more."""
_VOCABULARY_OTHERS = 24_000
"""The same for other encoders, and for languages other than English."""
_UNUSED = re.compile(r"\[unused\d+\]")
_MAX_SENTENCES = 12
_MIN_SENTENCE_CHARACTERS = 25
_SENTENCE_END = re.compile(r"(?<=[.!?;:])\s+|\n+")
_PROBES = 300
"""Questions that measure how close questions and passages of this data are in general."""
_ENGLISH_SHARE = 0.6
"""Least share of common English words among the owner's words."""
_MIN_WORD_CHARACTERS = 4


def write_answers(
    folder: Path,
    passages: Sequence[Passage],
    ladder: Ladder,
    unknown: str,
    fallback: str,
    sources: Sequence[EncoderSource] = ENCODERS,
) -> list[EncoderSource]:
    """Write the folder described in docs/answers-format.md, and return the encoders it uses.

    Args:
        folder: Existing and empty.
        passages: At least one.
        ladder: Weights and thresholds.
        unknown: What the page says if it does not know.
        fallback: Who answers what no passage does: `unknown` nobody, `offer` the model if the visitor lets it, `model`
            the model.
        sources: Encoders to use; those for English only are left out for other languages.

    Raises:
        FetchError: an encoder cannot be downloaded.
    """
    texts = [text for p in passages for text in (*p.questions, p.title, p.text, *p.wordings)]
    has_wordings = sum(bool(passage.wordings) for passage in passages) > len(passages) / 2
    row_texts = [_row_texts(passage) for passage in passages]
    encoders, used = [], []
    english = sources != ENCODERS or _is_english(texts)
    for source in sources:
        if english or source.is_multilingual:
            encoders.append(_write_encoder(folder, source, texts, english))
            used.append(source)
    counts = [RowCounts(len(rows.texts) + len(rows.questions), len(rows.questions)) for rows in row_texts]
    dimension = 0
    for entry in encoders:
        names = ("name", "query_prefix", "passage_prefix", "max_tokens", "max_question_tokens")
        encoder = Encoder(folder, *(entry[name] for name in names))
        packed = pack_rows(np.concatenate(list(_vectors(encoder, row_texts))))
        write_bytes(folder / entry["index"], packed.tobytes())
        dimension = encoder.dimension
        entry["mean"], entry["deviation"] = _spread(encoder, unpack_rows(packed), counts, passages)
    write_json(folder / PASSAGES_FILE, [_record(p, c) for p, c in zip(passages, counts, strict=True)])
    settings = {
        "encoders": encoders,
        "passages": PASSAGES_FILE,
        "candidates": RANKING.candidates,
        "lexical": _LEXICAL_WITH_WORDINGS if has_wordings else RANKING.lexical,
        "sentence_candidates": RANKING.sentence_candidates,
        "question_margin": RANKING.question_margin,
        "dimension": dimension,
        "ladder": ladder.as_json(),
        "fallback": fallback,
        "unknown": unknown,
    }
    write_json(folder / SETTINGS_FILE, settings)
    write_checksums(folder)
    return used


def write_ladder(folder: Path, ladder: Ladder) -> None:
    """Replace the ladder of a folder of answers."""
    write_json(folder / SETTINGS_FILE, read_json(folder / SETTINGS_FILE) | {"ladder": ladder.as_json()})
    write_checksums(folder)


@dataclass(frozen=True, slots=True)
class _RowTexts:
    """What is compared with a visitor's question, one row each."""

    texts: list[str]
    """Title, wordings and text; then the text alone; then its sentences if there are several."""
    questions: tuple[str, ...]
    """Questions that the passage answers, or its last heading."""


def _row_texts(passage: Passage) -> _RowTexts:
    sentences = _sentences(passage.text)
    few = sentences[:_MAX_SENTENCES] if len(sentences) > 1 else []
    texts = [joined((passage.title, *passage.wordings, passage.text)), passage.text, *few]
    return _RowTexts(texts, passage.questions or (passage.title.split(" > ")[-1],))


def _vectors(encoder: Encoder, row_texts: Sequence[_RowTexts]) -> Iterator[np.ndarray]:
    """The rows (N, D) of each passage, in the order of the index."""
    label = f"knowledge: reading passages with {encoder.name}"
    for rows in tqdm(row_texts, desc=label, unit="passage", delay=2, mininterval=1):
        yield encoder.passages(rows.texts)
        yield np.stack([encoder.query(question) for question in rows.questions])


def _sentences(text: str) -> list[str]:
    sentences: list[str] = []
    for sentence in _SENTENCE_END.split(text.strip()):
        if sentences and len(sentence) < _MIN_SENTENCE_CHARACTERS:
            sentences[-1] = joined((sentences[-1], sentence))
        elif sentence:
            sentences.append(sentence)
    return sentences


def _is_english(texts: Sequence[str]) -> bool:
    """Whether most longer words are in the vocabulary of the English encoder."""
    definition = json.loads((MINILM.fetch() / "tokenizer.json").read_text(encoding="utf-8"))
    known = set(token_names(definition))
    words = Counter(word for text in texts for word in words_of(text) if len(word) >= _MIN_WORD_CHARACTERS)
    total = sum(words.values())
    return total > 0 and sum(count for word, count in words.items() if word in known) / total >= _ENGLISH_SHARE


def _write_encoder(folder: Path, source: EncoderSource, texts: Sequence[str], english: bool) -> dict[str, Any]:
    """Write the encoder's files, with a vocabulary for the owner's words and language; returns its settings."""
    tokenizer, weights = source.read(source.fetch())
    definition = json.loads(tokenizer)
    frequent = _frequent_tokens(source, definition, texts, english)
    size = _VOCABULARY.get(source.name, _VOCABULARY_OTHERS) if english else _VOCABULARY_OTHERS
    pruned, old_ids = prune(tokenizer, texts, frequent, size)
    kept = EncoderWeights(weights.shape, weights.words[old_ids], weights.positions, weights.matrices, weights.vectors)
    write_encoder(folder, source.name, kept)
    name = source.name
    write_text(folder / f"{name}.tokenizer.json", pruned)
    return {
        "name": name,
        "id": source.id,
        "license": source.license,
        "graph": f"{name}.onnx",
        "weights": f"{name}.bin",
        "layout": f"{name}.json",
        "tokenizer": f"{name}.tokenizer.json",
        "index": f"{name}.index.bin",
        "query_prefix": source.query_prefix,
        "passage_prefix": source.passage_prefix,
        "max_tokens": MAX_TOKENS,
        "max_question_tokens": MAX_QUESTION_TOKENS,
    }


def _frequent_tokens(
    source: EncoderSource, definition: dict[str, Any], texts: Sequence[str], english: bool
) -> Iterator[int]:
    """Ids of the language's tokens, the most frequent first.

    The multilingual vocabulary has log-probabilities measured on web pages, but those of all languages together. The
    words of the English encoder tell which are English; for other languages, all tokens in the owner's letters count.
    """
    if source not in ENCODERS:
        return iter(range(len(definition["model"]["vocab"])))
    if not source.is_multilingual:
        return iter(_by_frequency(definition))
    if english:
        return _tokens_of_words(definition, _english_words())
    letters = set("".join(texts).lower()) | set("".join(texts)) | {"\u2581"}
    vocabulary = definition["model"]["vocab"]
    order = sorted(range(len(vocabulary)), key=lambda id: -vocabulary[id][1])
    return (id for id in order if set(vocabulary[id][0]) <= letters)


def _by_frequency(definition: dict[str, Any]) -> list[int]:
    """Ids of the English encoder's tokens, by how frequent the multilingual vocabulary says they are on web pages."""
    multilingual = json.loads(E5.read(E5.fetch())[0])
    frequencies: dict[str, float] = dict(multilingual["model"]["vocab"])
    names = token_names(definition)

    def frequency(id: int) -> float:
        inner = names[id].removeprefix("##")
        piece = inner if inner != names[id] else f"\u2581{inner}"
        return frequencies.get(piece, -math.inf)

    usable = (id for id, name in enumerate(names) if name.isascii() and not _UNUSED.match(name))
    return sorted(usable, key=frequency, reverse=True)


def _english_words() -> list[str]:
    """Words of the English encoder, the most frequent first."""
    definition = json.loads((MINILM.fetch() / "tokenizer.json").read_text(encoding="utf-8"))
    names = token_names(definition)
    return [name for id in _by_frequency(definition) if (name := names[id]).isalpha()]


def _tokens_of_words(definition: dict[str, Any], words: Sequence[str]) -> Iterator[int]:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_str(json.dumps(definition))
    for word in words:
        yield from tokenizer.encode(word, add_special_tokens=False).ids


def _spread(
    encoder: Encoder, rows: np.ndarray, counts: Sequence[RowCounts], passages: Sequence[Passage]
) -> tuple[float, float]:
    """Mean and standard deviation of the closeness of the owner's questions or titles to all passages."""
    probes = [passage.questions[0] if passage.questions else passage.title for passage in passages]
    step = max(1, len(probes) // _PROBES)
    ranker = Ranker(counts, [Index(rows, 0.0, 1.0)], Overlap([""] * len(counts)), RANKING)
    cosines = np.concatenate([ranker.cosines([encoder.query(probe)])[0] for probe in probes[::step]])
    return float(cosines.mean()), max(float(cosines.std()), 1e-6)


def _record(passage: Passage, counts: RowCounts) -> dict[str, Any]:
    source = passage.source
    return {
        "id": passage.id,
        "kind": passage.kind,
        "title": passage.title,
        "text": passage.text,
        "category": passage.category,
        "source": {"name": source.name, "place": source.place, "url": source.url, "date": source.date},
        "wordings": list(passage.wordings),
        "rows": counts.rows,
        "question_rows": counts.questions,
    }

"""Folders of answers with tiny random encoders, for tests of the pages and of what they share with Python."""

import random
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from tinsmith.core.run_dir import write_checksums, write_json
from tinsmith.model.answers.encoder import Encoder
from tinsmith.model.answers.encoder_file import EncoderWeights, write_encoder
from tinsmith.model.answers.encoder_graph import Shape
from tinsmith.model.answers.grams import joined
from tinsmith.model.answers.ladder import Ladder, Weights
from tinsmith.model.answers.q4 import pack_rows
from tinsmith.model.passages import Passage, Source

SHAPE = Shape(layers=2, heads=2, dimension=64, epsilon=1e-12)
INNER = 128
"""Width of the feed-forward layers."""
POSITIONS = 40
QUESTION_TOKENS = 24
LADDER = Ladder(Weights(closeness=1.0, lead=1.0, lead_of_five=0.5, bias=-2.0), sure=0.6, likely=0.2, min_closeness=0.4)
SETTINGS = {"candidates": 6, "lexical": 1.5, "sentence_candidates": 8, "question_margin": 0.5}
_TEAS = ("Sencha", "Assam", "Darjeeling", "Oolong", "Gyokuro", "Lapsang", "Rooibos", "Matcha", "Keemun", "Pu-erh")
_MATTERS = ("price", "brewing", "origin", "caffeine")


def tiny_passages() -> list[Passage]:
    """Forty passages of a tea shop: thirty answers and ten sections of a document."""
    passages = []
    for number, tea in enumerate(_TEAS):
        texts = (
            f"A tin of {tea} costs {4 + number} euros. Ten tins cost {35 + 9 * number} euros.",
            f"Brew {tea} for {1 + number % 5} minutes. The water should have {70 + 2 * number} °C.",
            f"Our {tea} grows in garden no. {17 * number + 3}.",
            f"{tea}: {20 + number} mg of caffeine in a cup! Less than coffee. Straße, Öl & naïve İstanbul.",
        )
        for matter, text in zip(_MATTERS, texts, strict=True):
            kind = "document" if matter == "origin" else "answer"
            source = Source("faq.jsonl", f"line {len(passages) + 1}", "https://tea.example/faq", "2026-01-31")
            title = f"What is the {matter} of {tea}?"
            wordings = (f"{matter}, {tea} please", f"Say the {matter}!") if number % 3 == 0 else ()
            passages.append(Passage(f"{tea}-{matter}", kind, title, text, source, (title,), "tea", wordings))
    return passages


def write_tiny_answers(folder: Path, passages: Sequence[Passage] | None = None) -> None:
    """Write a folder as the knowledge stage does, with one WordPiece and one Unigram encoder.

    Their words are random vectors and their layers add little to them, so texts with the same words are close.
    """
    passages = tiny_passages() if passages is None else passages
    rows = [[joined((p.title, *p.wordings, p.text)), p.text, *_sentences(p.text)] for p in passages]
    # A third of the passages has no question row, a third one, and a third two.
    questions = [[p.title, f"Tell me about {p.title}"][: number % 3] for number, p in enumerate(passages)]
    corpus = [text for texts in rows for text in texts]
    encoders = []
    for name, tokenizer, prefix in (("words", _word_pieces(corpus), ""), ("pieces", _unigrams(corpus), "query: ")):
        tokenizer.save(str(folder / f"{name}.tokenizer.json"), pretty=False)
        write_encoder(folder, name, _weights(tokenizer.get_vocab_size(), seed=len(name)))
        encoder = Encoder(folder, name, prefix, "", POSITIONS, QUESTION_TOKENS, threads=1)
        vectors = encoder.passages(corpus)
        index = [
            vector
            for texts, asked in zip(rows, questions, strict=True)
            for vector in (*encoder.passages(texts), *(encoder.query(question) for question in asked))
        ]
        (folder / f"{name}.index.bin").write_bytes(pack_rows(np.stack(index)).tobytes())
        files = {"graph": f"{name}.onnx", "weights": f"{name}.bin", "layout": f"{name}.json"}
        more = {"tokenizer": f"{name}.tokenizer.json", "index": f"{name}.index.bin"}
        prefixes = {"query_prefix": prefix, "passage_prefix": ""}
        cosines = vectors @ vectors.T
        spread = {"mean": float(cosines.mean()), "deviation": float(cosines.std())}
        lengths = {"max_tokens": POSITIONS, "max_question_tokens": QUESTION_TOKENS}
        encoders.append({"name": name, **lengths, **files, **more, **prefixes, **spread})
    stored = [
        {**_record(passage), "rows": len(texts) + len(asked), "question_rows": len(asked)}
        for passage, texts, asked in zip(passages, rows, questions, strict=True)
    ]
    write_json(folder / "passages.json", stored)
    settings = {"encoders": encoders, "passages": "passages.json", "dimension": SHAPE.dimension, **SETTINGS}
    texts = {"fallback": "unknown", "unknown": "I do not know that.", "small_talk": []}
    write_json(folder / "answers.json", {**settings, "ladder": LADDER.as_json(), **texts})
    write_checksums(folder)


def _record(passage: Passage) -> dict:
    record = asdict(passage)
    del record["questions"]
    return record


def _sentences(text: str) -> list[str]:
    parts = [part for part in text.replace("! ", ". ").split(". ") if part]
    return parts if len(parts) > 1 else []


def _weights(vocabulary: int, seed: int) -> EncoderWeights:
    generator = np.random.default_rng(seed)
    size, inner = SHAPE.dimension, INNER
    shapes = {"qkv": (3 * size, size), "output": (size, size), "up": (inner, size), "down": (size, inner)}
    layers = range(SHAPE.layers)
    matrices, vectors = {}, {}
    for layer in layers:
        for name, (rows, columns) in shapes.items():
            matrices[f"{layer}.{name}"] = generator.normal(0, 0.05, (rows, columns)).astype(np.float32)
            vectors[f"{layer}.{name}.bias"] = generator.normal(0, 0.05, rows).astype(np.float32)
    norms = [f"{layer}.{part}_norm" for layer in layers for part in ("attention", "output")]
    for norm in ("embedding_norm", *norms):
        vectors[f"{norm}.weight"] = generator.normal(1, 0.05, size).astype(np.float32)
        vectors[f"{norm}.bias"] = generator.normal(0, 0.05, size).astype(np.float32)
    matrices["0.output"][3] = 0  # a row of zeros has a step of its own
    words = generator.normal(0, 1, (vocabulary, size)).astype(np.float32)
    positions = generator.normal(0, 0.05, (POSITIONS, size)).astype(np.float32)
    return EncoderWeights(SHAPE, words, positions, matrices, vectors)


def _word_pieces(corpus: Sequence[str]) -> Tokenizer:
    """A WordPiece tokenizer that spells every fourth word; the library's trainer gives another one in each process."""
    normalizer, splitter = normalizers.BertNormalizer(lowercase=True), pre_tokenizers.BertPreTokenizer()
    words = sorted({word for text in corpus for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(text))})
    characters = sorted(set("".join(words)))
    whole = [word for number, word in enumerate(words) if number % 4 and len(word) > 1]
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *characters, *(f"##{one}" for one in characters), *whole]
    tokenizer = Tokenizer(models.WordPiece({piece: id for id, piece in enumerate(pieces)}, unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizer, splitter
    tokenizer.add_special_tokens(pieces[:4])
    ends = [(name, pieces.index(name)) for name in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", special_tokens=ends)
    return tokenizer


def _unigrams(corpus: Sequence[str]) -> Tokenizer:
    """A Unigram tokenizer with made-up probabilities; the library's trainer gives others on each machine."""
    starts = sorted({f"\u2581{word}" for text in corpus for word in text.split()})
    characters = sorted({character for text in corpus for character in text} | {"\u2581"})
    pieces = sorted(set(starts) | set(characters))
    chance = random.Random(1)
    vocabulary = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    vocabulary += [(piece, -12 * chance.random() - (len(piece) == 1) * 6) for piece in pieces]
    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=3))
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.add_special_tokens(["<s>", "<pad>", "</s>", "<unk>"])
    tokenizer.post_processor = processors.TemplateProcessing("<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)])
    return tokenizer

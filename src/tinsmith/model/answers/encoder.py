"""Run an encoder with ONNX Runtime: text to a unit vector."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tinsmith.model.answers.encoder_file import read_encoder
from tinsmith.model.answers.encoder_graph import with_data
from tinsmith.model.answers.q4 import unpack_rows

if TYPE_CHECKING:
    pass


class Encoder:
    """An encoder from its files in a folder of answers.

    Args:
        folder: Holds the files.
        name: Their name without ending.
        query_prefix: Put before questions.
        passage_prefix: Put before the owner's words.
        max_tokens: Longer texts are cut; the page cuts them at the same token.
        threads: Threads of ONNX Runtime; 0 lets it decide.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        query_prefix: str = "",
        passage_prefix: str = "",
        max_tokens: int = 256,
        threads: int = 0,
    ) -> None:
        import onnxruntime
        from tokenizers import Tokenizer

        self.name = name
        self.query_prefix, self.passage_prefix, self.max_tokens = query_prefix, passage_prefix, max_tokens
        self._file = read_encoder(folder, name)
        self.tokenizer: Tokenizer = Tokenizer.from_file(str(folder / f"{name}.tokenizer.json"))
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(max_tokens)
        self.tokenizer.encode_special_tokens = True  # a text that spells a special token is read as text
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        graph = with_data((folder / f"{name}.onnx").read_bytes(), self._file.data)
        self._session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return self._file.positions.shape[1]

    def query(self, text: str) -> np.ndarray:
        """The vector (D,) of a question."""
        return self._vector(self.query_prefix + text)

    def passages(self, texts: Iterable[str]) -> np.ndarray:
        """The vectors (N, D) of pieces of the owner's words."""
        return np.stack([self._vector(self.passage_prefix + text) for text in texts])

    def _vector(self, text: str) -> np.ndarray:
        ids = self.tokenizer.encode(text).ids
        embeddings = unpack_rows(self._file.words[ids]) + self._file.positions[: len(ids)]
        (vector,) = self._session.run(["vector"], {"embeddings": embeddings[None]})
        return np.asarray(vector)[0]

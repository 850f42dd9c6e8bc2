"""Run an encoder with ONNX Runtime: text to a unit vector."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from tinsmith.model.answers.encoder_file import read_encoder
from tinsmith.model.answers.encoder_graph import with_data
from tinsmith.model.answers.q4 import unpack_rows


class Encoder:
    """An encoder from its files in a folder of answers.

    Args:
        folder: Holds the files.
        name: Their name without ending.
        query_prefix: Put before questions.
        passage_prefix: Put before the owner's words.
        max_tokens: Longer pieces of the owner's words are cut.
        max_question_tokens: Longer questions are cut; the page cuts them at the same token.
        threads: Threads of ONNX Runtime; 0 lets it decide.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        query_prefix: str = "",
        passage_prefix: str = "",
        max_tokens: int = 256,
        max_question_tokens: int = 64,
        threads: int = 0,
    ) -> None:
        import onnxruntime
        from tokenizers import Tokenizer

        self.name = name
        self.query_prefix, self.passage_prefix = query_prefix, passage_prefix
        self.max_tokens, self.max_question_tokens = max_tokens, max_question_tokens
        self._file = read_encoder(folder, name)
        self.tokenizer: Tokenizer = Tokenizer.from_file(str(folder / f"{name}.tokenizer.json"))
        self.tokenizer.no_padding()
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
        return self._vector(self.query_tokens(text))

    def query_tokens(self, text: str) -> list[int]:
        """The ids of a question, with the special tokens at both ends; a long question loses its end."""
        return self._token_ids(self.query_prefix + text, self.max_question_tokens)

    def passages(self, texts: Iterable[str]) -> np.ndarray:
        """The vectors (N, D) of pieces of the owner's words."""
        ids = (self._token_ids(self.passage_prefix + text, self.max_tokens) for text in texts)
        return np.stack([self._vector(ids_of_text) for ids_of_text in ids])

    def _token_ids(self, text: str, most: int) -> list[int]:
        ids = self.tokenizer.encode(text).ids
        return ids if len(ids) <= most else [*ids[: most - 1], ids[-1]]

    def _vector(self, ids: list[int]) -> np.ndarray:
        embeddings = unpack_rows(self._file.words[ids]) + self._file.positions[: len(ids)]
        (vector,) = self._session.run(["vector"], {"embeddings": embeddings[None]})
        return np.asarray(vector)[0]

"""An ONNX decoder on ONNX Runtime's CPU provider, fed the way a browser feeds it: one sequence with its cache."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tinsmith.core.errors import ArtifactError
from tinsmith.model.int8_weights import unpacked_weights
from tinsmith.model.package_format import INT8_PAGE, UNPACKED_DATA, weights_files


@dataclass(frozen=True, slots=True)
class OnnxDecoder:
    """A loaded session with the names and shapes of its cache."""

    session: Any
    past_shapes: dict[str, tuple[int, ...]]
    """Empty shape by name (`past_key_values.N.key` or `.value`): (1, kv heads, 0, head size), or
    (1, 0, kv heads x head size) if the graph returns only new rows."""
    past_dtype: Any
    """NumPy type of the cache: float32 or float16."""
    vocab_size: int

    def start(self) -> "Sequencer":
        """A new, empty sequence."""
        return Sequencer(self)

    def join(self, sequences: Sequence["Sequencer"]) -> "Batch":
        """The sequences, each with a token or more, to be extended together from now on.

        Raises:
            ValueError: the graph returns only new rows of its cache; such graphs take one sequence at a time.
        """
        if any(len(shape) != 4 for shape in self.past_shapes.values()):
            raise ValueError("this graph takes one sequence at a time")
        lengths = np.asarray([sequence.length for sequence in sequences])
        past = {}
        for name, (_, heads, _, size) in self.past_shapes.items():
            rows = np.zeros((len(sequences), heads, lengths.max(), size), self.past_dtype)
            for row, sequence in zip(rows, sequences, strict=True):
                row[:, : sequence.length] = sequence.past[name].numpy()[0]
            past[name] = rows
        return Batch(self, lengths, past)


@dataclass(slots=True)
class Sequencer:
    """One sequence: its cache, and the number of tokens in the cache."""

    decoder: OnnxDecoder
    length: int = 0
    past: dict[str, Any] = field(default_factory=dict)

    def feed(self, ids: Sequence[int], keep: int) -> np.ndarray:
        """Logits `(keep, V)` float32 after each of the last `keep` tokens of `ids`, which extend the sequence."""
        return self.outputs(ids, keep)["logits"].numpy()[0]

    def outputs(self, ids: Sequence[int], keep: int) -> dict[str, Any]:
        """Everything the graph returns for `ids`, by name, in ONNX Runtime's own memory; extends the cache."""
        import onnxruntime as ort

        total = self.length + len(ids)
        arrays = {
            "input_ids": np.asarray([ids], np.int64),
            "attention_mask": np.ones((1, total), np.int64),
            "position_ids": np.arange(self.length, total, dtype=np.int64)[None],
            "num_logits_to_keep": np.asarray(keep, np.int64),
        }
        if not self.past:
            arrays |= {
                name: np.zeros(shape, self.decoder.past_dtype) for name, shape in self.decoder.past_shapes.items()
            }
        values = {name: ort.OrtValue.ortvalue_from_numpy(array) for name, array in arrays.items()} | self.past
        names = [output.name for output in self.decoder.session.get_outputs()]
        outputs = dict(zip(names, self.decoder.session.run_with_ort_values(names, values), strict=True))
        self.past = {
            name: self._extended(values[name], outputs[name.replace("past_key_values", "present")])
            for name in self.decoder.past_shapes
        }
        self.length = total
        return outputs

    @staticmethod
    def _extended(past: Any, present: Any) -> Any:
        """The cache after a step, in ONNX Runtime's memory. A three-dimensional `present` holds only the new rows."""
        import onnxruntime as ort

        if len(present.shape()) == 4:
            return present
        return ort.OrtValue.ortvalue_from_numpy(np.concatenate([past.numpy(), present.numpy()], axis=1))


@dataclass(slots=True)
class Batch:
    """Several sequences that grow by one token at a time. Their caches are padded on the right."""

    decoder: OnnxDecoder
    lengths: np.ndarray
    """Tokens in each cache (B,)."""
    past: dict[str, Any]
    """(B, kv heads, longest, head size)."""

    def feed(self, ids: Sequence[int]) -> np.ndarray:
        """Logits (B, V) float32 after one more token of each sequence."""
        import onnxruntime as ort

        total = int(self.lengths.max()) + 1
        arrays = {
            "input_ids": np.asarray(ids, np.int64)[:, None],
            "attention_mask": (np.arange(total) <= self.lengths[:, None]).astype(np.int64),
            "position_ids": self.lengths[:, None].astype(np.int64),
            "num_logits_to_keep": np.asarray(1, np.int64),
        } | self.past
        values = {
            name: ort.OrtValue.ortvalue_from_numpy(array) if isinstance(array, np.ndarray) else array
            for name, array in arrays.items()
        }
        names = [output.name for output in self.decoder.session.get_outputs()]
        outputs = dict(zip(names, self.decoder.session.run_with_ort_values(names, values), strict=True))
        self.past = {name: outputs[name.replace("past_key_values", "present")] for name in self.decoder.past_shapes}
        self.lengths = self.lengths + 1
        return outputs["logits"].numpy()[:, -1]

    def keep(self, rows: Sequence[int]) -> None:
        """Drop all sequences but these."""
        self.lengths = self.lengths[rows]
        longest = int(self.lengths.max(initial=0))
        arrays = {name: past if isinstance(past, np.ndarray) else past.numpy() for name, past in self.past.items()}
        self.past = {name: np.ascontiguousarray(array[rows, :, :longest]) for name, array in arrays.items()}


def load_onnx(path: Path, threads: int = 0) -> OnnxDecoder:
    """The decoder in the ONNX file at `path`, on `threads` CPU threads (0: one per core).

    Raises:
        ArtifactError: the file is missing, does not load, or does not have the inputs of the package format.
    """
    import onnxruntime as ort

    if not path.is_file():
        raise ArtifactError(f"{path}: missing", "Run the export stage again: tinsmith run --from export --force")
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    try:
        if path.name == INT8_PAGE.name:
            # If one file comes from memory, ONNX Runtime expects all of them there.
            files: dict[str, np.ndarray] = {
                file.name: np.memmap(file, np.uint8, "r") for file in weights_files(path.parent)
            }
            files[UNPACKED_DATA] = unpacked_weights(path.parent)
            sizes = [data.nbytes for data in files.values()]
            options.add_external_initializers_from_files_in_memory(list(files), list(files.values()), sizes)
        session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's error classes share no public base.
        raise ArtifactError(
            f"{path}: ONNX Runtime cannot load it ({error})", "Run the export stage again with --force."
        ) from error
    inputs = {value.name: value.shape for value in session.get_inputs()}
    is_float16 = any(value.type == "tensor(float16)" for value in session.get_inputs())
    past: dict[str, tuple[int, ...]] = {
        name: (1, *(size if isinstance(size, int) else 0 for size in shape[1:]))
        for name, shape in inputs.items()
        if name.startswith("past_key_values.")
    }
    missing = {"input_ids", "attention_mask", "position_ids", "num_logits_to_keep"} - set(inputs)
    if missing or not past or not all(isinstance(inputs[name][-1], int) for name in past):
        raise ArtifactError(
            f"{path}: not a decoder in the package format (inputs: {', '.join(inputs)})",
            "Run the export stage again with --force.",
        )
    vocab_size = {value.name: value.shape for value in session.get_outputs()}["logits"][-1]
    return OnnxDecoder(session, past, np.float16 if is_float16 else np.float32, vocab_size)

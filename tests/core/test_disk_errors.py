"""A full disk is recognized whichever library reports it, and no other error is mistaken for one."""

import errno

import numpy as np
import onnx_ir
import pytest
import safetensors.numpy
from tokenizers import Tokenizer, models

from fake_stages import files_end_at
from tinsmith.core.disk_errors import disk_problem


def _safetensors(path):
    safetensors.numpy.save_file({"weights": np.zeros(100_000)}, path)


def _tokenizer(path):
    Tokenizer(models.WordLevel({f"word {i}": i for i in range(9000)}, unk_token="word 0")).save(str(path))


def _numpy(path):
    np.zeros(100_000).tofile(path)


def _onnx(path):
    tensor = onnx_ir.tensor(np.zeros(100_000), name="weights")
    value = onnx_ir.Value(name="weights", const_value=tensor)
    graph = onnx_ir.Graph([], [value], nodes=[], initializers=[value], opset_imports={"": 20}, name="graph")
    onnx_ir.save(onnx_ir.Model(graph, ir_version=10), path, external_data=f"{path.name}_data")


def _plain(path):
    path.write_bytes(bytes(800_000))


@pytest.mark.parametrize("save", [_safetensors, _tokenizer, _numpy, _onnx, _plain])
def test_a_full_disk_is_recognized_in_every_library(tmp_path, save):
    with files_end_at(100_000), pytest.raises(Exception) as error:  # noqa: PT011 (libraries raise all kinds)
        save(tmp_path / "file")
    assert disk_problem(error.value)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EACCES, errno.EROFS, errno.EDQUOT])
def test_the_cause_of_another_error_counts(code):
    error = RuntimeError("could not save")
    error.__cause__ = OSError(code, "reason", "weights.bin")
    assert disk_problem(error).text == "weights.bin: reason"


def test_system_errors_that_other_languages_quote_are_recognized(tmp_path):
    assert disk_problem(RuntimeError("SystemError : 13")).reason == "Permission denied"
    assert disk_problem(RuntimeError("SystemError : 2")) is None
    text = "[ONNXRuntimeError] : 1 : FAIL : Load model from a/model_q4.onnx failed:system error number 24"
    assert disk_problem(RuntimeError(text)).reason == "Too many open files"
    text = "unable to open file <tea/model.safetensors> in read-only mode: Input/output error (5)"
    assert disk_problem(RuntimeError(text)).reason == "Input/output error"
    path = tmp_path / "model.safetensors"
    unopened = FileNotFoundError(f"No such file or directory: {path}")
    assert disk_problem(unopened) is None  # it says so of a file that is missing too
    path.touch()
    assert disk_problem(unopened).text == f"{path}: cannot be opened"


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ('external_stream.is_open() was false. Failed to open for writing:"run/folded.data"', "run/folded.data"),
        ('graph.cc:5436 Failed to write external initializers to file: "run/folded.data" ', "run/folded.data"),
        ("[ONNXRuntimeError] : 7 : INVALID_PROTOBUF : Protobuf serialization failed.", ""),
    ],
)
def test_what_onnx_runtime_cannot_write_is_recognized(text, where):
    """It does not say why."""
    problem = disk_problem(RuntimeError(text))
    assert (problem.reason, problem.where) == ("cannot be written", where)


@pytest.mark.parametrize(
    "error",
    [ValueError("28"), FileNotFoundError(errno.ENOENT, "No such file", "x"), Exception("gone (os error 2)"), None],
)
def test_other_errors_are_not_disk_errors(error):
    assert disk_problem(error) is None

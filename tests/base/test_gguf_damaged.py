"""Damaged GGUF files are refused with a message that names them; none ends in another error or eats the machine."""

import random
import resource
import struct

import gguf
import numpy
import pytest
from tiny_gguf import write_tiny_gguf

from stage_runs import run_stage
from tinsmith.base.gguf_file import read_gguf
from tinsmith.base.stage import resolve_base
from tinsmith.core.config import BaseConfig
from tinsmith.core.errors import BaseModelError

ODD_NUMBERS = (0, 1, 3, 8, 9, 255, 2**16, 2**31 - 1, 2**32 - 1, 2**33, 2**40, 2**63 - 1, 2**64 - 1)


class Intact:
    """A good file: its bytes, and where its header's numbers and strings begin."""

    def __init__(self, path):
        self.content = path.read_bytes()
        reader = gguf.GGUFReader(path)
        self.header_bytes = reader.data_offset
        self.parts = []
        for field in (*reader.fields.values(), *(tensor.field for tensor in reader.tensors)):
            # A vocabulary has thousands of parts; as many as any other field has are enough of it.
            position = field.offset
            for index, part in enumerate(field.parts):
                if index < 12:
                    self.parts.append((position, part.nbytes))
                position += part.nbytes


def mutated(intact, chance):
    """The file with one thing wrong, and what."""
    content = bytearray(intact.content)
    kind = chance.choice(["cut", "flip", "flip", "odd", "odd", "odd", "odd", "noise", "insert"])
    if kind == "cut":
        end = chance.choice(
            [chance.randrange(64), chance.randrange(intact.header_bytes), chance.randrange(len(content))]
        )
        return bytes(content[:end]), f"cut after {end} bytes"
    position, size = chance.choice(intact.parts)
    if kind == "flip":
        position += chance.randrange(max(1, size))
        content[position] ^= 1 << chance.randrange(8)
    elif kind == "odd":
        number = chance.choice(ODD_NUMBERS)
        width = size if size in (1, 2, 4, 8) else 8
        content[position : position + width] = struct.pack("<Q", number)[:width]
        return bytes(content), f"{number} at byte {position}"
    elif kind == "noise":
        content[position : position + 16] = chance.randbytes(16)
    else:
        content[position:position] = chance.randbytes(chance.randrange(1, 9))
    return bytes(content), f"{kind} at byte {position}"


@pytest.mark.parametrize(("kind", "seed"), [("llama", 1), ("gemma3", 2)])
def test_mutated_files_are_used_or_refused_by_name(kind, seed, tmp_path, request):
    source = request.getfixturevalue({"llama": "tiny_llama", "gemma3": "tiny_gemma"}[kind])
    options = {"chat_template": "{{ messages[0]['content'] }}"} if kind == "llama" else {"quantization": "Q8_0"}
    intact = Intact(write_tiny_gguf(source, tmp_path / "good.gguf", kind, **options))
    tokenizer = "" if kind == "llama" else str(source)
    chance = random.Random(seed)
    path = tmp_path / "mutated.gguf"
    refusals = []
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in range(200):
        content, what = mutated(intact, chance)
        path.write_bytes(content)
        out = tmp_path / str(number)
        out.mkdir()
        try:
            run_stage(resolve_base, BaseConfig(model=str(path), tokenizer=tokenizer, license="mit"), out)
        except BaseModelError as error:
            refusals.append(error)
        except Exception as error:
            raise AssertionError(f"mutation {number}, {what}: {type(error).__name__}: {error}") from error
    assert len(refusals) > 100, "most mutations hit something that is read"
    for error in refusals:
        assert "mutated.gguf" in error.message and error.hint
    grown_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory
    assert grown_kb < 500_000, "memory stays in proportion to a file of a few hundred kB"


@pytest.mark.parametrize("kind", ["llama", "gemma3"])
def test_the_same_is_read_as_by_the_gguf_package(kind, tmp_path, request):
    source = request.getfixturevalue({"llama": "tiny_llama", "gemma3": "tiny_gemma"}[kind])
    path = write_tiny_gguf(source, tmp_path / "good.gguf", kind, quantization="Q4_1", chat_template="{{ 1 }}")
    file, reader = read_gguf(path), gguf.GGUFReader(path)
    fields = {key: field.contents() for key, field in reader.fields.items() if not key.startswith("GGUF.")}
    assert {k: v.tolist() if isinstance(v, numpy.ndarray) else v for k, v in file.fields.items()} == fields
    assert len(file.tensors) == len(reader.tensors)
    for mine, theirs in zip(file.tensors, reader.tensors, strict=True):
        assert (mine.name, list(mine.shape), mine.type) == (theirs.name, theirs.shape.tolist(), theirs.tensor_type)
        assert mine.rows.tobytes() == theirs.data.tobytes()

"""The folder Transformers.js loads: what is in it, how it is written, and a check that it is complete.

The layout is written down in `docs/package-format.md`; `check_package` enforces it on every run.
"""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx_ir as ir

from tinsmith.core.errors import ArtifactError, listing
from tinsmith.core.run_dir import file_sha256, read_json, tree_sha256s, write_json, write_text
from tinsmith.model.package_format import (
    BROWSER_FILE,
    CHECKSUMS_FILE,
    FLOAT32,
    GRAPHS,
    UNPACK_PLAN_FILE,
    is_weights_file,
    weights_files,
)

_INLINE_BYTES = 1024  # smaller constants stay in the graph file
_UNPACKED_BY_PAGES = (
    ".scales",
    ".zeros",
    ".packed",
)  # in the order in which they are stored; unpack.py says where they lie
_ALIGNMENT = 64

_REQUIRED_FILES = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
    BROWSER_FILE,
    FLOAT32.file,
    f"{FLOAT32.file}_data",
)
_LICENSE_PATTERNS = ("LICENSE*", "NOTICE*", "*TERMS*", "USE_POLICY*")
_ALLOWED_SUFFIXES = {".json", ".jinja", ".onnx", ".md", ".txt", ".html", ""}


def save_graph(model: ir.Model, path: Path, max_chunk_bytes: int) -> list[Path]:
    """Write `model` to `path` with its weights beside it; returns every file written.

    Weights go to `<name>_data`, `<name>_data_1`, ... of at most `max_chunk_bytes` each, the names Transformers.js asks for. A
    matrix, its scales and its zero points are never apart; those that are larger have a file to themselves. The matrix comes
    last, so that a page can unpack the rows that have arrived.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    chunks: list[Path] = []
    file, at = None, 0
    for group in _stored_together(model.graph):
        need = sum(value.const_value.nbytes + -value.const_value.nbytes % _ALIGNMENT for value in group)
        if file is None or at + -at % _ALIGNMENT + need > max_chunk_bytes:
            if file:
                file.close()
            suffix = f"_{len(chunks)}" if chunks else ""
            chunks.append(path.with_name(f"{path.name}_data{suffix}"))
            file, at = chunks[-1].open("wb"), 0
        for value in group:
            tensor = value.const_value
            at += file.write(b"\0" * (-at % _ALIGNMENT))
            data = tensor.tobytes()
            value.const_value = ir.ExternalTensor(
                chunks[-1].name, at, len(data), tensor.dtype, shape=tensor.shape, name=value.name, base_dir=path.parent
            )
            at += file.write(data)
    if file:
        file.close()
    ir.save(model, path)
    return [path, *chunks]


def _stored_together(graph: ir.Graph) -> Iterator[list[ir.Value]]:
    """Initializers beside the graph, in groups that are not cut: each alone, or a matrix after what belongs to it."""
    for name, value in graph.initializers.items():
        if name.endswith(".packed"):
            stem = name.removesuffix(".packed")
            yield [graph.initializers[stem + kind] for kind in _UNPACKED_BY_PAGES if stem + kind in graph.initializers]
        elif value.const_value.nbytes >= _INLINE_BYTES and not name.endswith(_UNPACKED_BY_PAGES):
            yield [value]


def save_sibling(model: ir.Model, path: Path, of: ir.Model) -> None:
    """Write `model` to `path`, with the weights that `of` has stored in the same folder.

    Raises:
        ValueError: a weight of 1 kB or more is not stored there.
    """
    for name, value in model.graph.initializers.items():
        if value.const_value.nbytes < _INLINE_BYTES and not value.name.endswith(_UNPACKED_BY_PAGES):
            continue
        stored = of.graph.initializers[name].const_value if name in of.graph.initializers else None
        if (
            not isinstance(stored, ir.ExternalTensor)
            or stored.dtype != value.const_value.dtype
            or stored.shape != value.shape
        ):
            raise ValueError(f"{name} is not stored with {of.graph.name}")
        value.const_value = stored
    ir.save(model, path)


def complete_package(out_dir: Path, model_dir: Path, end_ids: tuple[int, ...], data_files: int) -> None:
    """Write everything but the graphs and `browser.json`, which are there, into `out_dir`.

    Args:
        model_dir: The merged model folder, for configuration, tokenizer and licence files.
        end_ids: Token ids at which generation stops.
        data_files: How many files the weights are in.
    """
    write_json(out_dir / "config.json", _browser_config(read_json(model_dir / "config.json"), data_files))
    generation = read_json(model_dir / "generation_config.json")
    generation["eos_token_id"] = list(end_ids)
    write_json(out_dir / "generation_config.json", generation)
    tokenizer = _smaller(read_json(model_dir / "tokenizer.json"))
    write_text(out_dir / "tokenizer.json", json.dumps(tokenizer, ensure_ascii=False, separators=(",", ":")))
    write_json(out_dir / "tokenizer_config.json", read_json(model_dir / "tokenizer_config.json"))
    shutil.copyfile(model_dir / "chat_template.jinja", out_dir / "chat_template.jinja")
    for pattern in _LICENSE_PATTERNS:
        for path in sorted(model_dir.glob(pattern)):
            shutil.copyfile(path, out_dir / path.name)
    sums = tree_sha256s(out_dir)
    write_text(out_dir / CHECKSUMS_FILE, "".join(f"{digest}  {name}\n" for name, digest in sums.items()))


def _browser_config(config: dict[str, Any], data_files: int) -> dict[str, Any]:
    """`config.json` for Transformers.js: which file to load, in how many pieces its weights are."""
    config = {key: value for key, value in config.items() if key not in ("quantization_config", "_name_or_path")}
    return config | {"transformers.js_config": _transformers_js_config(data_files)}


def _transformers_js_config(data_files: int) -> dict[str, Any]:
    return {"dtype": FLOAT32.dtype, "use_external_data_format": {FLOAT32.name: data_files}}


def _smaller(tokenizer: dict[str, Any]) -> dict[str, Any]:
    """The same tokenizer in fewer bytes, since visitors download it: merges as "a b", not as ["a", "b"], where no part has a space.

    That and writing it without indentation leave 12.3 of 33.4 MB of Gemma 3's.
    """
    model = tokenizer["model"]
    pairs = model.get("merges")
    if not pairs or any(isinstance(pair, str) or len(pair) != 2 or " " in pair[0] + pair[1] for pair in pairs):
        return tokenizer
    return {**tokenizer, "model": {**model, "merges": [" ".join(pair) for pair in pairs]}}


def download_bytes(package_dir: Path) -> int:
    """Bytes a browser fetches: one graph, the weights and what the tokenizer and configuration need."""
    names = ("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json")
    return sum((package_dir / name).stat().st_size for name in names) + weights_bytes(package_dir)


def weight_files(package_dir: Path) -> list[Path]:
    """The float32 graph and its weights; the float16 graph has the same weights."""
    path = package_dir / FLOAT32.file
    return [path, *weights_files(path.parent)]


def weights_bytes(package_dir: Path) -> int:
    """Bytes of one graph and the weights."""
    return sum(path.stat().st_size for path in weight_files(package_dir))


def check_package(package_dir: Path) -> None:
    """Prove that a folder keeps the package contract.

    Raises:
        ArtifactError: everything that is missing, unexpected, unlisted or not what was listed.
    """
    problems = [f"{name}: missing" for name in _REQUIRED_FILES if not (package_dir / name).is_file()]
    if problems:
        raise ArtifactError(f"{package_dir}: not a complete package\n{listing(problems)}", "Export it again.")
    problems += (
        _file_problems(package_dir)
        + _config_problems(package_dir)
        + _graph_problems(package_dir)
        + _plan_problems(package_dir)
    )
    if problems:
        raise ArtifactError(f"{package_dir}: package contract broken\n{listing(problems)}", "Export it again.")


def _file_problems(package_dir: Path) -> list[str]:
    listed = {}
    for line in (package_dir / CHECKSUMS_FILE).read_text(encoding="utf-8").splitlines():
        digest, _, name = line.partition("  ")
        listed[name] = digest
    found = {path.relative_to(package_dir).as_posix(): path for path in package_dir.rglob("*") if path.is_file()}
    problems = [f"{name}: listed in SHA256SUMS but missing" for name in listed if name not in found]
    for name, path in found.items():
        if name == CHECKSUMS_FILE:
            continue
        if name not in listed:
            problems.append(f"{name}: not listed in SHA256SUMS")
        elif file_sha256(path) != listed[name]:
            problems.append(f"{name}: differs from SHA256SUMS")
        if not is_weights_file(name) and path.suffix.lower() not in _ALLOWED_SUFFIXES:
            problems.append(f"{name}: unexpected kind of file")
    return problems


def _plan_problems(package_dir: Path) -> list[str]:
    path = package_dir / UNPACK_PLAN_FILE
    sizes = {file.name: file.stat().st_size for file in weights_files(path.parent)}
    if not path.exists() or read_json(path)["files"] == sizes:
        return []
    return [f"{UNPACK_PLAN_FILE}: the files of weights have {read_json(path)['files']} bytes, found {sizes}"]


def _config_problems(package_dir: Path) -> list[str]:
    problems = []
    config = read_json(package_dir / "config.json")
    expected = _transformers_js_config(len(weights_files((package_dir / FLOAT32.file).parent)))
    if config.get("transformers.js_config") != expected:
        problems.append(
            f"config.json: transformers.js_config is {config.get('transformers.js_config')}, expected {expected}"
        )
    if not read_json(package_dir / "tokenizer_config.json").get("chat_template"):
        problems.append("tokenizer_config.json: no inline chat_template, the only place Transformers.js looks")
    if not isinstance(read_json(package_dir / "generation_config.json").get("eos_token_id"), list):
        problems.append("generation_config.json: eos_token_id is not the list of all end tokens")
    return problems


def _graph_problems(package_dir: Path) -> list[str]:
    layers = read_json(package_dir / "config.json")["num_hidden_layers"]
    problems = []
    for graph in GRAPHS:
        if (package_dir / graph.file).exists():
            problems += _problems_of_graph(ir.load(package_dir / graph.file), graph.file, graph.operators, layers)
    return problems


def _problems_of_graph(model: ir.Model, file: str, allowed: frozenset[str], layers: int) -> list[str]:
    unknown = {node.op_type for node in model.graph} - allowed
    problems = [f"{file}: operator {name} is not on the allow-list" for name in sorted(unknown)]
    expected = {"input_ids", "attention_mask", "position_ids", "num_logits_to_keep"}
    expected |= {f"past_key_values.{index}.{part}" for index in range(layers) for part in ("key", "value")}
    inputs = {value.name: value for value in model.graph.inputs}
    if set(inputs) != expected:
        problems.append(f"{file}: inputs differ by {sorted(set(inputs) ^ expected)}")
    for name, value in inputs.items():
        if name.startswith("past_key_values") and not isinstance(value.shape[-1], int):
            problems.append(f"{file}: {name} has a symbolic head size")
    for value in model.graph.initializers.values():
        tensor = value.const_value
        if isinstance(tensor, ir.ExternalTensor) and Path(tensor.location).name != str(tensor.location):
            problems.append(f"{file}: {value.name} lies outside the package ({tensor.location})")
    return problems

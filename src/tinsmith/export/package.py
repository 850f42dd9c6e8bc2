"""Writes and checks the folder that Transformers.js loads.

`docs/package-format.md` describes its layout; `check_package` enforces it on every run.
"""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx_ir as ir

from tinsmith.core.errors import ArtifactError, listing
from tinsmith.core.file_kinds import unexpected_files
from tinsmith.core.run_dir import (
    CHECKSUMS_FILE,
    entries,
    file_sha256,
    files_below,
    read_json,
    write_checksums,
    write_json,
    write_text,
)
from tinsmith.export.decoder_plan import decoder_plan
from tinsmith.export.onnx_nodes import name_of, shape_of, tensor_of
from tinsmith.model.package_format import (
    BROWSER_FILE,
    DECODER_PLAN_FILE,
    FLOAT32,
    GRAPHS,
    UNPACK_PLAN_FILE,
    is_weights_file,
    list_graphs,
    weights_files,
)

_INLINE_BYTES = 1024
"""Smaller constants stay in the graph file."""
_MATRIX_PARTS = (".scales", ".zeros", ".packed")
"""Name endings of a matrix's initializers, in storage order. It lets a page unpack rows as they arrive."""
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
    DECODER_PLAN_FILE,
)
_LICENSE_PATTERNS = ("LICENSE*", "NOTICE*", "*TERMS*", "USE_POLICY*")
_ALLOWED_SUFFIXES = {".json", ".jinja", ".onnx", ".md", ".txt", ".html", ""}


def save_graph(model: ir.Model, path: Path, max_chunk_bytes: int) -> list[Path]:
    """Write `model` to `path` and its weights beside it; returns all written files.

    Weights go into files of at most `max_chunk_bytes`: `<name>_data`, `<name>_data_1`, ..., as Transformers.js expects.
    A matrix, its scales and its zero points share a file. A group larger than the limit gets a file of its own.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    chunks: list[Path] = []
    file, position = None, 0
    for group in _stored_together(model.graph):
        group_bytes = sum(size + -size % _ALIGNMENT for size in (tensor_of(value).nbytes for value in group))
        if file is None or position + -position % _ALIGNMENT + group_bytes > max_chunk_bytes:
            if file:
                file.close()
            suffix = f"_{len(chunks)}" if chunks else ""
            chunks.append(path.with_name(f"{path.name}_data{suffix}"))
            file, position = chunks[-1].open("wb"), 0
        for value in group:
            tensor = tensor_of(value)
            position += file.write(b"\0" * (-position % _ALIGNMENT))
            data = tensor.tobytes()
            extent = (chunks[-1].name, position, len(data))
            value.const_value = ir.ExternalTensor(
                *extent, tensor.dtype, shape=ir.Shape(shape_of(value)), name=name_of(value), base_dir=path.parent
            )
            position += file.write(data)
    if file:
        file.close()
    ir.save(model, path)
    return [path, *chunks]


def _stored_together(graph: ir.Graph) -> Iterator[list[ir.Value]]:
    """Initializers to store beside the graph, in groups that share a file: a matrix with its parts, or one tensor."""
    for name, value in graph.initializers.items():
        if name.endswith(".packed"):
            stem = name.removesuffix(".packed")
            yield [graph.initializers[stem + kind] for kind in _MATRIX_PARTS if stem + kind in graph.initializers]
        elif tensor_of(value).nbytes >= _INLINE_BYTES and not name.endswith(_MATRIX_PARTS):
            yield [value]


def save_sibling(model: ir.Model, path: Path, sibling: ir.Model) -> None:
    """Write `model` to `path`, sharing the weights that `sibling` has stored in the same folder.

    Raises:
        ValueError: a weight of 1 kB or more is not among them.
    """
    for name, value in model.graph.initializers.items():
        if tensor_of(value).nbytes < _INLINE_BYTES and not name.endswith(_MATRIX_PARTS):
            continue
        stored = sibling.graph.initializers[name].const_value if name in sibling.graph.initializers else None
        if (
            not isinstance(stored, ir.ExternalTensor)
            or stored.dtype != tensor_of(value).dtype
            or stored.shape != value.shape
        ):
            raise ValueError(f"{name} is not among the stored weights of {sibling.graph.name}")
        value.const_value = stored
    ir.save(model, path)


def complete_package(out_dir: Path, model_dir: Path, end_ids: tuple[int, ...]) -> None:
    """Add everything else to a package that has its graphs and `browser.json`.

    Args:
        out_dir: The package.
        model_dir: The merged model folder, for configuration, tokenizer and licence files.
        end_ids: Token ids at which generation stops.
    """
    config = read_json(model_dir / "config.json")
    settings = {key: value for key, value in config.items() if key not in ("quantization_config", "_name_or_path")}
    write_json(out_dir / "config.json", settings | {"transformers.js_config": _transformers_js_config(out_dir)})
    generation = read_json(model_dir / "generation_config.json")
    generation["eos_token_id"] = list(end_ids)
    write_json(out_dir / "generation_config.json", generation)
    tokenizer = _with_short_merges(read_json(model_dir / "tokenizer.json"))
    write_text(out_dir / "tokenizer.json", json.dumps(tokenizer, ensure_ascii=False, separators=(",", ":")))
    write_json(out_dir / "tokenizer_config.json", read_json(model_dir / "tokenizer_config.json"))
    shutil.copyfile(model_dir / "chat_template.jinja", out_dir / "chat_template.jinja")
    for pattern in _LICENSE_PATTERNS:
        for path in entries(model_dir, pattern):
            shutil.copyfile(path, out_dir / path.name)
    write_checksums(out_dir)


def _transformers_js_config(package_dir: Path) -> dict[str, Any]:
    """Which graph Transformers.js loads by default, and in how many files its weights are."""
    count = len(weights_files((package_dir / FLOAT32.file).parent))
    return {"dtype": FLOAT32.dtype, "use_external_data_format": {FLOAT32.name: count}}


def _with_short_merges(tokenizer: dict[str, Any]) -> dict[str, Any]:
    """Write merges as "a b" in place of ["a", "b"], unless a part contains a space.

    Short merges without indentation shrink Gemma 3's file from 33.4 to 12.3 MB.
    """
    model = tokenizer["model"]
    pairs = model.get("merges")
    if not pairs or any(isinstance(pair, str) or len(pair) != 2 or " " in pair[0] + pair[1] for pair in pairs):
        return tokenizer
    return {**tokenizer, "model": {**model, "merges": [" ".join(pair) for pair in pairs]}}


def download_bytes(package_dir: Path) -> int:
    """Bytes a browser fetches: the float32 graph, the weights, the tokenizer and the configuration."""
    names = ("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json")
    return sum((package_dir / name).stat().st_size for name in names) + weights_bytes(package_dir)


def graph_and_weights(package_dir: Path) -> list[Path]:
    """The float32 graph and the weights, which all graphs share."""
    path = package_dir / FLOAT32.file
    return [path, *weights_files(path.parent)]


def weights_bytes(package_dir: Path) -> int:
    """Bytes of the float32 graph and the weights."""
    return sum(path.stat().st_size for path in graph_and_weights(package_dir))


def check_package(package_dir: Path) -> None:
    """Check that a folder is a complete package as `docs/package-format.md` describes it.

    Raises:
        ArtifactError: a file is missing, unexpected, not in the checksums, or broken; the message lists all problems.
    """
    problems = [f"{name}: missing" for name in _REQUIRED_FILES if not (package_dir / name).is_file()]
    if problems:
        raise ArtifactError(f"{package_dir}: not a complete package\n{listing(problems)}", "Export it again.")
    problems += (
        file_problems(package_dir)
        + _config_problems(package_dir)
        + _graph_problems(package_dir)
        + _browser_problems(package_dir)
        + _plan_problems(package_dir)
        + _decoder_plan_problems(package_dir)
    )
    if problems:
        raise ArtifactError(f"{package_dir}: not a valid package\n{listing(problems)}", "Export it again.")


def file_problems(package_dir: Path) -> list[str]:
    """Files that are missing, unexpected, or not what the package's `SHA256SUMS` says."""
    listed = {}
    for line in (package_dir / CHECKSUMS_FILE).read_text(encoding="utf-8", errors="replace").splitlines():
        digest, _, name = line.partition("  ")
        listed[name] = digest
    files = {path.relative_to(package_dir).as_posix(): path for path in files_below(package_dir)}
    problems = [f"{name}: listed in {CHECKSUMS_FILE} but missing" for name in listed if name not in files]
    for name, path in files.items():
        if name == CHECKSUMS_FILE:
            continue
        if name not in listed:
            problems.append(f"{name}: not listed in {CHECKSUMS_FILE}")
        elif file_sha256(path) != listed[name]:
            problems.append(f"{name}: differs from {CHECKSUMS_FILE}")
        if not is_weights_file(name) and path.suffix.lower() not in _ALLOWED_SUFFIXES:
            problems.append(f"{name}: unexpected kind of file")
    return problems + unexpected_files(package_dir)


def _browser_problems(package_dir: Path) -> list[str]:
    facts, problems = read_json(package_dir / BROWSER_FILE), []
    weights = [file.name for file in weights_files((package_dir / FLOAT32.file).parent)]
    for key, expected in (("graphs", list_graphs(package_dir)), ("weights", weights)):
        if facts.get(key) != expected:
            problems.append(f"{BROWSER_FILE}: {key} are {facts.get(key)}, expected {expected}")
    return problems


def _plan_problems(package_dir: Path) -> list[str]:
    path = package_dir / UNPACK_PLAN_FILE
    sizes = {file.name: file.stat().st_size for file in weights_files(path.parent)}
    if not path.exists() or read_json(path)["files"] == sizes:
        return []
    return [f"{UNPACK_PLAN_FILE}: expects weights files of {read_json(path)['files']} bytes, found {sizes}"]


def _decoder_plan_problems(package_dir: Path) -> list[str]:
    if read_json(package_dir / DECODER_PLAN_FILE) == decoder_plan(package_dir / FLOAT32.file):
        return []
    return [f"{DECODER_PLAN_FILE}: is not the plan of {FLOAT32.file}"]


def _config_problems(package_dir: Path) -> list[str]:
    problems = []
    config = read_json(package_dir / "config.json")
    expected = _transformers_js_config(package_dir)
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
    inputs = {name_of(value): value for value in model.graph.inputs}
    if set(inputs) != expected:
        problems.append(f"{file}: inputs differ by {sorted(set(inputs) ^ expected)}")
    for name, value in inputs.items():
        if name.startswith("past_key_values") and (value.shape is None or not isinstance(value.shape[-1], int)):
            problems.append(f"{file}: {name} has a symbolic head size")
    for value in model.graph.initializers.values():
        tensor = value.const_value
        if isinstance(tensor, ir.ExternalTensor) and Path(tensor.location).name != str(tensor.location):
            problems.append(f"{file}: {value.name} is stored outside the package ({tensor.location})")
    return problems

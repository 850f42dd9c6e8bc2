"""The browser runtime: Transformers.js and ONNX Runtime for the web, with the few patches that pages need."""

from pathlib import Path

from tinsmith import web
from tinsmith.core.errors import MissingDependency
from tinsmith.core.run_dir import link_or_copy, tree_sha256s, write_text

WEB_DIR = Path(web.__path__[0])
"""The folder of pages, workers and styles."""

_TRANSFORMERS = "@huggingface/transformers/dist/transformers.web.min.js"
_ORT = "onnxruntime-web/dist"
_VENDORED = {
    "ort.wasm.bundle.min.mjs": f"{_ORT}/ort.wasm.bundle.min.mjs",
    "ort-wasm-simd-threaded.wasm": f"{_ORT}/ort-wasm-simd-threaded.wasm",
    "ort.webgpu.bundle.min.mjs": f"{_ORT}/ort.webgpu.bundle.min.mjs",
    "ort-wasm-simd-threaded.asyncify.wasm": f"{_ORT}/ort-wasm-simd-threaded.asyncify.wasm",
    "LICENSE.transformers.txt": "@huggingface/transformers/LICENSE",
}

_MERGES = {
    # Each merge of a tokenizer was split and written as JSON, to be a key: half a second of Gemma 3's loading, with 514,906
    # of them, and memory for all. As they stand in tokenizer.json they are keys already.
    'this.merges=e?t.merges:t.merges.map(s=>s.split(" ",2)),this.bpe_ranks=new Map(this.merges.map((s,r)=>[JSON.stringify(s),r]))': "this.isSplit=e,this.bpe_ranks=new Map(t.merges.map((s,r)=>[e?JSON.stringify(s):s,r]))",
    "this.bpe_ranks.get(JSON.stringify([e.token,e.next.token]))": 'this.bpe_ranks.get(this.isSplit?JSON.stringify([e.token,e.next.token]):e.token+" "+e.next.token)',
}
"""What is replaced in Transformers.js 4.3.1. Goes when https://github.com/huggingface/tokenizers.js keeps merges as they come."""


def runtime_files() -> dict[str, Path]:
    """Name in `runtime/` -> installed file, for everything that is served unchanged.

    Raises:
        MissingDependency: the browser runtime is not installed.
    """
    modules = WEB_DIR / "node_modules"
    files = {name: modules / path for name, path in _VENDORED.items()}
    missing = [path for path in (*files.values(), modules / _TRANSFORMERS) if not path.is_file()]
    if missing:
        raise MissingDependency(
            f"the browser runtime is not installed: {missing[0].name} not found",
            f"cd {WEB_DIR} && npm ci --ignore-scripts",
        )
    return files


def write_runtime(folder: Path) -> None:
    """Put the browser runtime into `folder`: Transformers.js once for WASM and once for WebGPU, and ONNX Runtime.

    Transformers.js imports `onnxruntime-web/webgpu` by a bare name. A worker has no import map, so the name is
    replaced in the copy, as is how it reads merges. The plain WASM build loads in half the time of the asyncify build that WebGPU needs.

    Raises:
        MissingDependency: the runtime is not installed, or is a version with other imports.
    """
    for name, source in runtime_files().items():
        link_or_copy(source, folder / name)
    source = (WEB_DIR / "node_modules" / _TRANSFORMERS).read_text(encoding="utf-8")
    for backend in ("wasm", "webgpu"):
        bare = ("onnxruntime-web/webgpu", "onnxruntime-common")
        imports = {f'from"{name}"': f'from"./ort.{backend}.bundle.min.mjs"' for name in bare}
        text = source
        for old, new in (imports | _MERGES).items():
            if text.count(old) != 1:
                raise MissingDependency(
                    f"this version of Transformers.js does not have {old} once, as 4.3.1 does",
                    f"cd {WEB_DIR} && npm ci --ignore-scripts",
                )
            text = text.replace(old, new)
        write_text(folder / f"transformers.{backend}.js", text)
    link_or_copy(WEB_DIR / "LICENSE.onnxruntime.txt", folder / "LICENSE.onnxruntime.txt")  # its npm package has none
    (folder / "SHA256SUMS").unlink(missing_ok=True)
    write_text(folder / "SHA256SUMS", "".join(f"{digest}  {name}\n" for name, digest in tree_sha256s(folder).items()))

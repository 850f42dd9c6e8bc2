"""The browser runtime: Transformers.js and ONNX Runtime Web, with the patches that the pages need."""

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from tinsmith import web
from tinsmith.browser.npm import Package, is_cached, package_files, pinned_package
from tinsmith.core.errors import ArtifactError, MissingDependency
from tinsmith.core.run_dir import CHECKSUMS_FILE, cache_dir, copy_file, write_checksums, write_text

WEB_DIR = Path(web.__path__[0])
"""The folder of pages, workers and styles."""
GPU_SCRIPTS = tuple(sorted(f"gpu/{path.name}" for path in (WEB_DIR / "gpu").glob("*.js")))
"""The worker's own WebGPU kernels, by their paths in `WEB_DIR`."""

DIGESTS_FILE = WEB_DIR / "runtime_digests.js"
_DIGESTS_HEAD = """/**
 * Digests of the browser runtime's files, written by `make runtime-digests`. tinsmith compares them when it makes a
 * site, and pages when they load the files.
 *
 * @type {Record<string, string>}
 */
"""

TRANSFORMERS, ONNX_RUNTIME = "@huggingface/transformers", "onnxruntime-web"
_LIBRARY = "dist/transformers.web.min.js"
_LICENSE = "LICENSE"
_SERVED = (
    "ort.wasm.bundle.min.mjs",
    "ort-wasm-simd-threaded.wasm",
    "ort.webgpu.bundle.min.mjs",
    "ort-wasm-simd-threaded.asyncify.wasm",
)
"""Files of ONNX Runtime's `dist/` that pages load."""
_FILES = {
    TRANSFORMERS: (_LIBRARY, _LICENSE),
    # The last file is for the card's code, which uses Transformers.js without patches.
    ONNX_RUNTIME: tuple(f"dist/{name}" for name in (*_SERVED, "ort-wasm-simd-threaded.asyncify.mjs")),
}

# Transformers.js 4.3.1 splits each merge of a tokenizer and turns it into JSON for use as a map key. With the 514,906
# merges of Gemma 3 this costs memory and half a second. The patches use the strings of tokenizer.json as keys instead.
# Remove them when https://github.com/huggingface/tokenizers.js does the same.
_PATCHES = {
    'this.merges=e?t.merges:t.merges.map(s=>s.split(" ",2)),'
    "this.bpe_ranks=new Map(this.merges.map((s,r)=>[JSON.stringify(s),r]))": (
        "this.isSplit=e,this.bpe_ranks=new Map(t.merges.map((s,r)=>[e?JSON.stringify(s):s,r]))"
    ),
    "this.bpe_ranks.get(JSON.stringify([e.token,e.next.token]))": (
        'this.bpe_ranks.get(this.isSplit?JSON.stringify([e.token,e.next.token]):e.token+" "+e.next.token)'
    ),
}
"""Text of Transformers.js -> replacement."""


def runtime_packages() -> Iterator[Package]:
    """The two pinned npm packages of the runtime."""
    for name in _FILES:
        yield pinned_package(WEB_DIR / "package-lock.json", name)


def missing_packages() -> list[Package]:
    """Packages of the runtime that are not in the cache yet."""
    return [package for package in runtime_packages() if not is_cached(package, _FILES[package.name])]


def runtime_folders(archives: Path | None = None) -> dict[str, Path]:
    """Package name -> folder with its files, fetched on first use.

    Args:
        archives: Folder with the packages' archives, used instead of the registry.

    Raises:
        MissingDependency: a package cannot be fetched.
    """
    return {package.name: package_files(package, _FILES[package.name], archives) for package in runtime_packages()}


def write_runtime(folder: Path) -> None:
    """Write the browser runtime to `folder`, and compare each file with its pinned digest.

    Raises:
        MissingDependency: the runtime cannot be fetched, or is not the one that tinsmith was tested with.
    """
    write_files(folder)
    write_checksums(folder)
    _check_digests(folder)


def write_files(folder: Path) -> None:
    """Write the runtime without a comparison: Transformers.js once for WASM and once for WebGPU, and ONNX Runtime.

    Transformers.js imports `onnxruntime-web/webgpu` by a bare name. A worker has no import map, so the name is
    replaced in the copy. The plain WASM build loads in half the time of the asyncify build that WebGPU needs.

    Raises:
        MissingDependency: the runtime cannot be fetched, or its version does not match the patches.
    """
    folders = runtime_folders()
    for name in _SERVED:
        copy_file(folders[ONNX_RUNTIME] / "dist" / name, folder / name)
    copy_file(folders[TRANSFORMERS] / _LICENSE, folder / "LICENSE.transformers.txt")
    copy_file(WEB_DIR / "LICENSE.onnxruntime.txt", folder / "LICENSE.onnxruntime.txt")  # its npm package has none
    library = (folders[TRANSFORMERS] / _LIBRARY).read_text(encoding="utf-8")
    for backend in ("wasm", "webgpu"):
        imports = ("onnxruntime-web/webgpu", "onnxruntime-common")
        replacements = {f'from"{name}"': f'from"./ort.{backend}.bundle.min.mjs"' for name in imports}
        write_text(folder / f"transformers.{backend}.js", _patched(library, replacements | _PATCHES))


def file_digests(folder: Path) -> dict[str, str]:
    """File name -> digest of each file of a written runtime, in the form of the `integrity` attribute."""
    names = sorted(path.name for path in folder.iterdir() if path.name != CHECKSUMS_FILE)
    return {name: integrity_of((folder / name).read_bytes()) for name in names}


def integrity_of(content: bytes) -> str:
    """The digest of a file in the form of the `integrity` attribute."""
    return "sha384-" + base64.b64encode(hashlib.sha384(content).digest()).decode()


def pinned_digests() -> dict[str, str]:
    """The digests that this version of tinsmith expects; the pages read them from the same file.

    Raises:
        ArtifactError: the file is damaged.
    """
    text = DIGESTS_FILE.read_text(encoding="utf-8")
    try:
        return json.loads(text[text.index("= {") + 2 : text.rindex("};") + 1])
    except ValueError as error:
        raise ArtifactError(f"{DIGESTS_FILE}: damaged", "Install tinsmith again.") from error


def digests_script(digests: Mapping[str, str]) -> str:
    """Content of the file with the pinned digests."""
    return f"{_DIGESTS_HEAD}export const RUNTIME_DIGESTS = {json.dumps(digests, indent=2)};\n"


def _check_digests(folder: Path) -> None:
    pinned, written = pinned_digests(), file_digests(folder)
    different = sorted(name for name in pinned | written if pinned.get(name) != written.get(name))
    if different:
        raise MissingDependency(
            f"browser runtime: {', '.join(different)} differ from the files that tinsmith was tested with",
            f"Delete {cache_dir() / 'npm'} and run again. After a change of their versions: make runtime-digests",
        )


def _patched(library: str, replacements: dict[str, str]) -> str:
    for old, new in replacements.items():
        if library.count(old) != 1:
            raise MissingDependency(
                f"this version of Transformers.js does not contain {old} exactly once, as 4.3.1 does",
                "Install tinsmith again; package-lock.json and the patches in tinsmith/browser/runtime.py disagree.",
            )
        library = library.replace(old, new)
    return library

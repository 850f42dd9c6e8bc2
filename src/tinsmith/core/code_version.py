"""A hash of the code that decides what a stage writes: change that code, and the stage runs again."""

import ast
import importlib.util
from functools import cache
from pathlib import Path

from tinsmith.core.run_dir import combined_sha256, file_sha256


@cache
def code_version(module: str) -> str:
    """sha256 over the files of `sources_behind(module)`."""
    return combined_sha256({name: file_sha256(path) for name, path in sources_behind(module).items()})


def sources_behind(module: str) -> dict[str, Path]:
    """`module:file name` -> path, for `module` and every module of its project that it imports, even indirectly.

    Importing a module also imports the packages above it. A package includes the other files in its folder, because
    templates and the browser's files are code too.
    """
    project = module.partition(".")[0]
    pending, seen, sources = [module], set(), {}
    while pending:
        name = pending.pop()
        if name in seen or not f"{name}.".startswith(f"{project}."):
            continue
        seen.add(name)
        for source in _files_of(name):
            sources[f"{name}:{source.name}"] = source
            if source.suffix == ".py":
                pending += _imports(source)
        pending.append(name.rpartition(".")[0])
    return sources


def _imports(source: Path) -> set[str]:
    """Dotted names that the file at `source` imports: modules, and names from modules, which may be modules too."""
    names = set()
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def _files_of(name: str) -> list[Path]:
    """The file of module `name`; for a package, also the non-Python files in its folder. Empty if there is none."""
    try:
        spec = importlib.util.find_spec(name)
    except ModuleNotFoundError:
        return []
    if spec is None:
        return []
    own = [Path(spec.origin)] if spec.origin else []
    folders = [Path(folder) for folder in spec.submodule_search_locations or ()]
    return own + [
        path for folder in folders for path in sorted(folder.iterdir()) if path.is_file() and path.suffix != ".py"
    ]

"""The part of tinsmith's own code that decides what a stage writes, as a hash: change it, and the stage runs again."""

import ast
import importlib.util
from functools import cache
from pathlib import Path

from tinsmith.run_dir import combined_sha256, file_sha256


@cache
def code_version(module: str) -> str:
    """sha256 over the source of `module` and everything of tinsmith it imports, directly or not.

    The browser files count for the stages that run or ship them.
    """
    pending, seen = [module], {}
    while pending:
        name = pending.pop()
        spec = importlib.util.find_spec(name)
        if name in seen or spec is None or spec.origin is None:
            continue
        source = Path(spec.origin)
        seen[name] = file_sha256(source)
        pending += [found for found in imports_of(source) if found.startswith("tinsmith.")]
    if "tinsmith.serve" in seen:
        from tinsmith.serve import web_dir

        for path in sorted(web_dir().iterdir()):
            if path.is_file():
                seen[f"web/{path.name}"] = file_sha256(path)
    if module.startswith("tinsmith.card."):
        for path in sorted((Path(__file__).parent / "card" / "templates").iterdir()):
            seen[f"templates/{path.name}"] = file_sha256(path)
    return combined_sha256(seen)


def imports_of(source: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return {name for name in found if name.startswith("tinsmith.") and _exists(name)}


def _exists(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False

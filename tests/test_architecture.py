"""The layout is a checked fact: who may import whom, what starts light, how long files are."""

import ast
import subprocess
import sys
from pathlib import Path

import tinsmith
from tinsmith.pipeline import STAGES

SOURCE = Path(tinsmith.__file__).parent
STAGE_MODULES = {"base", "data", "train", "merge", "export", "evaluate", "bench", "remote", "card", "app"}
CONDUCTORS = {"cli", "pipeline", "__main__"}


def _imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {name.split(".")[1] for name in found if name.startswith("tinsmith.")}


def _owner(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def test_a_stage_imports_only_the_kernel_and_itself():
    files = list(SOURCE.rglob("*.py"))
    assert len(files) > 40
    for path in files:
        owner, imported = _owner(path), _imports(path)
        if owner in CONDUCTORS:
            continue
        forbidden = (STAGE_MODULES - {owner}) | CONDUCTORS if owner in STAGE_MODULES else STAGE_MODULES | CONDUCTORS
        assert not imported & forbidden, f"{path} imports {imported & forbidden}"


def test_every_read_was_written_by_an_earlier_stage():
    written: set[str] = set()
    for stage in STAGES:
        assert set(stage.reads) <= written, stage.name
        written.add(stage.name)
    assert written == STAGE_MODULES


def test_the_command_line_starts_without_torch():
    code = "import sys, tinsmith.cli; print([m for m in ('torch', 'transformers', 'onnxruntime') if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_files_stay_readable():
    lengths = {path: len(path.read_text().splitlines()) for path in SOURCE.rglob("*.py")}
    assert {str(path): length for path, length in lengths.items() if length > 350} == {}


def test_no_pickle_and_no_remote_code():
    for path in SOURCE.rglob("*.py"):
        text = path.read_text()
        assert "trust_remote_code=True" not in text, path
        assert not _imports_pickle(ast.parse(text)), path
        assert "torch.load(" not in text and "torch.save(" not in text, path


def _imports_pickle(tree: ast.AST) -> bool:
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    return bool(names & {"pickle", "joblib", "dill", "shelve"})

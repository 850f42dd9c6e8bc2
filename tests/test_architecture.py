"""The layout is a checked fact: who may import whom, what starts light, how long files are."""

import ast
import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import tinsmith
from tinsmith.pipeline.stages import STAGES

SOURCE = Path(tinsmith.__file__).parent
MODULES = {
    ".".join(("tinsmith", *path.relative_to(SOURCE).with_suffix("").parts)).removesuffix(".__init__"): path
    for path in SOURCE.rglob("*.py")
    if "node_modules" not in path.parts
}
LAYERS = (
    {"__init__"},
    {"core"},
    {"model"},
    {"documents"},
    {"derive"},
    {"browser"},
    {stage.module.split(".")[1] for stage in STAGES},
    {"pipeline"},
    {"commands"},
    {"cli"},
    {"__main__"},
)
"""From the ground up. A place is a folder or a loose file of `src/tinsmith`; it imports only from lower layers.

The stages come from the pipeline; a new place of another kind is added here by hand.
"""


def place_of(module: str) -> str:
    return ".".join(module.split(".")[1:2]) or "__init__"


def imports_between_places() -> Iterator[tuple[str, str, Path]]:
    for module, path in MODULES.items():
        for imported in _imports(path):
            if place_of(imported) != place_of(module):
                yield place_of(module), place_of(imported), path


def _imports(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                names.add(full if full in MODULES else node.module)
    return names & set(MODULES)


def test_every_import_goes_down():
    layer = {place: number for number, places in enumerate(LAYERS) for place in places}
    assert {place_of(module) for module in MODULES} == set(layer)
    for importer, imported, path in imports_between_places():
        assert layer[imported] < layer[importer], f"{path} imports from {imported}, which is not below {importer}"


def test_the_map_stays_small():
    edges = {(importer, imported) for importer, imported, _ in imports_between_places()}
    assert len(edges) <= 69
    assert len({place_of(module) for module in MODULES}) <= 21


def test_every_stage_has_its_function_where_it_says():
    for stage in STAGES:
        assert importlib.util.find_spec(stage.module), stage.name


def test_every_read_was_written_by_an_earlier_stage():
    written: set[str] = set()
    for stage in STAGES:
        assert set(stage.reads) <= written, stage.name
        written.add(stage.name)


def test_the_command_line_starts_without_torch():
    code = "import sys, tinsmith.cli; print([m for m in ('torch', 'transformers', 'onnxruntime') if m in sys.modules])"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"


def test_files_and_functions_stay_readable():
    for path in MODULES.values():
        text = path.read_text()
        assert len(text.splitlines()) <= 335, path
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                assert node.end_lineno - node.lineno < 60, f"{path}: {node.name}"


def test_no_pickle_and_no_remote_code():
    for path in MODULES.values():
        text = path.read_text()
        assert "trust_remote_code=True" not in text, path
        assert not _imports_pickle(ast.parse(text)), path
        assert "torch.load(" not in text and "torch.save(" not in text, path


def _imports_pickle(tree: ast.AST) -> bool:
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    return bool(names & {"pickle", "joblib", "dill", "shelve"})

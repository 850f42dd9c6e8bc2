"""A whole run in the server that forks commands, so that no command has to warm up.

It leaves imported modules, compiled patterns and templates, and what functions cache. None of it is about a file in a
project: that of the commands lies elsewhere.
"""

import gc
import tempfile
from collections.abc import Callable
from contextlib import chdir, redirect_stderr, redirect_stdout
from functools import cache
from io import StringIO
from pathlib import Path

from tinsmith.cli import main
from tinsmith.core import provenance
from tinsmith.core.code_version import code_version
from tinsmith.pipeline import runner


def warm_up(write: Callable[[Path], None], last: str) -> None:
    """Run a project that `write` writes, up to stage `last`."""
    provenance.environment = cache(provenance.environment)
    with tempfile.TemporaryDirectory() as folder, chdir(folder):
        write(Path(folder))
        output = StringIO()
        try:
            with redirect_stdout(output), redirect_stderr(output):
                main(["run", "tinsmith.toml", "--to", last], prog_name="tinsmith", standalone_mode=False)
        except SystemExit as end:
            raise AssertionError(output.getvalue()) from end
    for stage in runner.STAGES:
        code_version(stage.module)
    gc.collect()
    gc.freeze()

"""The browser runtime as the pages load it."""

import pytest

from shared import build_once
from tinsmith.browser.runtime import write_runtime


@pytest.fixture(scope="session")
def runtime(tmp_path_factory):
    return build_once(tmp_path_factory, "runtime", write_runtime)

"""The browser runtime as the pages load it."""

import pytest

from tinsmith.browser.runtime import write_runtime


@pytest.fixture(scope="session")
def runtime(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runtime")
    write_runtime(folder)
    return folder

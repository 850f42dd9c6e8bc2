"""Packages of the tiny models."""

import pytest

from packages import tiny_run


@pytest.fixture
def package_of(tmp_path_factory):
    """`kind -> package folder`."""
    return lambda kind: tiny_run(kind, tmp_path_factory) / "export/package"

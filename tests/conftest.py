"""Shared fixtures: tiny models, a cache of their own, and no network."""

import os
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"  # before anything imports huggingface_hub, which reads it once

import pytest

from shared import build_once
from tinsmith.core.run_dir import cache_dir
from tiny import build_tiny


def pytest_addoption(parser: pytest.Parser) -> None:
    """`make golden` writes the texts anew that tests compare with."""
    parser.addoption("--update-golden", action="store_true", help="write the golden pages anew")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Browsers first: their files take longest, and workers should not end with them.

    Tests of a file stay together whatever order they are named in, so that its fixtures are built once.
    """
    first: dict[Path, int] = {}
    for number, item in enumerate(items):
        first.setdefault(item.path, number)
    items.sort(key=lambda item: (item.get_closest_marker("browser") is None, first[item.path]))


@pytest.fixture(autouse=True)
def isolated(tmp_path_factory, monkeypatch):
    """Keep tests away from the user's cache, except from the browser runtime, which is large and never written to."""
    fetched = cache_dir().absolute() / "npm"
    fetched.mkdir(parents=True, exist_ok=True)
    cache = tmp_path_factory.mktemp("cache")
    (cache / "npm").symlink_to(fetched, target_is_directory=True)
    monkeypatch.setenv("TINSMITH_CACHE", str(cache))


@pytest.fixture(scope="session")
def tiny_llama(tmp_path_factory) -> Path:
    """A two-layer Llama model folder."""
    return build_once(tmp_path_factory, "tiny-llama", lambda folder: build_tiny("llama", folder))


@pytest.fixture(scope="session")
def tiny_gemma(tmp_path_factory) -> Path:
    """A two-layer Gemma 3 model folder: one sliding-window layer of 16 tokens, one full layer."""
    return build_once(tmp_path_factory, "tiny-gemma", lambda folder: build_tiny("gemma3", folder))

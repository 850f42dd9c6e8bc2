"""`tinsmith setup`: fetch the browser runtime before its first use."""

from pathlib import Path

from tinsmith.browser.runtime import runtime_folders, runtime_packages
from tinsmith.commands.terminal import say, show


def setup(archives: Path | None) -> None:
    """Store the browser runtime in the user's cache, from the registry or from archives.

    Args:
        archives: Folder with the packages' `.tgz` files, for a machine without a network.

    Raises:
        MissingDependency: a package cannot be fetched, or is not among the archives.
    """
    folders = runtime_folders(archives)
    for package in runtime_packages():
        show(f"{package.pin}: {folders[package.name]}")
    say("Next: tinsmith doctor")

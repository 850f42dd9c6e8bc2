"""Numbers of the card and app stages: how long the How-to-Use code ran, and the size of the site."""

from tinsmith.core.run_dir import CHECKSUMS_FILE
from tinsmith.derive.files import Files
from tinsmith.derive.rules import Derived, Fields, Rule

SNIPPETS = "card/snippets.json"
_CHECKSUMS = f"app/{CHECKSUMS_FILE}"


def snippet_seconds(files: Files, form: str) -> Derived:
    """Wall time of one form of the How-to-Use code, from opening its page to its answer."""
    run = next(run for run in files.json(SNIPPETS) if run["form"] == form)
    return Derived(run["elapsed_seconds"], "seconds", 1, "runs")


def site_files(files: Files) -> Derived:
    """Files of the site."""
    count = len(files.sizes("app"))
    return Derived(count, "count", count, "files")


def site_bytes(files: Files) -> Derived:
    """Bytes of all files of the site."""
    sizes = files.sizes("app")
    return Derived(sum(sizes.values()), "bytes", len(sizes), "files")


def _forms(files: Files) -> list[Fields]:
    return [{"form": run["form"]} for run in files.json(SNIPPETS)] if files.has(SNIPPETS) else []


CARD_RULES = (Rule("card.snippet.{form}.seconds", SNIPPETS, snippet_seconds, _forms),)
APP_RULES = (Rule("app.files", _CHECKSUMS, site_files), Rule("app.files_bytes", _CHECKSUMS, site_bytes))

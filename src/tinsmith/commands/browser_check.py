"""Check for Chromium and the browser runtime before a long run."""

from tinsmith.browser.chromium import find_browser
from tinsmith.browser.runtime import runtime_folders
from tinsmith.core.run_dir import RunDir
from tinsmith.pipeline.stages import STAGE_NAMES

_STAGES_WITH_CHROMIUM = ("bench", "card")
_STAGES_WITH_RUNTIME = ("bench", "card", "app")


def require_browser(run: RunDir, first: str, last: str) -> None:
    """Find Chromium and fetch the browser runtime if a selected stage needs them and has never finished.

    Args:
        run: The run folder.
        first: First selected stage.
        last: Last selected stage.

    Raises:
        MissingDependency: there is no Chromium, or the runtime cannot be fetched.
    """
    selected = STAGE_NAMES[STAGE_NAMES.index(first) : STAGE_NAMES.index(last) + 1]
    new_stages = {name for name in selected if not run.stamp(name).exists()}
    if new_stages.intersection(_STAGES_WITH_CHROMIUM):
        find_browser()
    if new_stages.intersection(_STAGES_WITH_RUNTIME):
        runtime_folders()

"""`tinsmith serve`: the finished chat page and card on 127.0.0.1."""

from pathlib import Path

from tinsmith.browser.serve import HOST_HEADERS, SiteServer
from tinsmith.commands.existing_run import existing_run, require_stage
from tinsmith.commands.terminal import say, show


def serve(run_path: Path, port: int) -> None:
    """Serve a run's site until interrupted.

    Raises:
        ArtifactError: the site is not built yet.
    """
    run = existing_run(run_path)
    require_stage(run, "app", "the chat page is not built yet")
    with SiteServer({"/": run.stage("app")}, port, HOST_HEADERS) as server:
        show(f"{server.origin}/")
        say("Open it in a browser; stop with Ctrl-C.")
        server.wait()

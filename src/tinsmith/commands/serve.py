"""`tinsmith serve`: the finished chat page and card on 127.0.0.1, for the owner with the reasons of every answer."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from tinsmith.browser.serve import HOST_HEADERS, SiteServer
from tinsmith.commands.existing_run import config_of, existing_run, require_stage
from tinsmith.commands.terminal import say, show
from tinsmith.core.errors import UserError
from tinsmith.core.run_dir import RunDir, read_json, write_json
from tinsmith.core.scratch import scratch_folder
from tinsmith.model.answers.publish import publish_answers


def serve(run_path: Path, port: int, owner: bool) -> None:
    """Serve a run's site until interrupted.

    Args:
        run_path: A run with a finished site.
        port: Port on 127.0.0.1; 0 picks a free one.
        owner: Show under every answer what was retrieved, its scores, and why the page answered so. Answers and
            documents are shown even if the owner has not agreed to publish them.

    Raises:
        ArtifactError: the site is not built yet.
        UserError: the port is taken, or for `owner`, the run has no answers.
    """
    run = existing_run(run_path)
    require_stage(run, "app", "the chat page is not built yet")
    with _mounts(run, owner) as mounts, SiteServer(mounts, port, HOST_HEADERS) as server:
        show(f"{server.origin}/")
        say("Open it in a browser; stop with Ctrl-C.")
        server.wait()


@contextmanager
def _mounts(run: RunDir, owner: bool) -> Generator[dict[str, Path]]:
    """What the server serves: the site; for the owner, with settings and answers of its own, written nowhere in it."""
    mounts = {"/": run.stage("app")}
    if not owner:
        yield mounts
        return
    settings = read_json(run.stage("app") / "app.json")
    answers_dir = run.stage("knowledge") / "answers"
    if not settings["answers"] and not answers_dir.is_dir():
        raise UserError(
            f"{run.root}: the page has no answers to explain: the model answers alone",
            'The answers are written unless answers.mode = "model"; then run again: tinsmith run CONFIG',
        )
    with scratch_folder("tinsmith-serve-", run.work) as folder:
        if not settings["answers"]:
            say("Only this machine sees your answers. To publish them: tinsmith approve CONFIG")
            settings["answers"] = "./model/answers/"
            mounts["/model/answers/"] = folder / "answers"
            publish_answers(answers_dir, folder / "answers", config_of(run).answers.unknown, with_questions=True)
        write_json(folder / "app.json", {**settings, "owner_view": True})
        yield {**mounts, "/app.json": folder / "app.json"}

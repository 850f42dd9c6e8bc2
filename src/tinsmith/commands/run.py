"""`tinsmith run`: run all or some stages and print the results. Other commands use it to update a run."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

from tinsmith.commands.browser_check import require_browser
from tinsmith.commands.results_table import as_document, results_table
from tinsmith.commands.terminal import say, say_next, set_options, show
from tinsmith.core.config import RunConfig
from tinsmith.core.config_file import load_config
from tinsmith.core.errors import UserError
from tinsmith.core.parallel import is_leader, join, leading
from tinsmith.core.run_dir import RunDir
from tinsmith.core.stopping import Stopped, stoppable
from tinsmith.pipeline.ownership import configuration_id
from tinsmith.pipeline.runner import run_pipeline
from tinsmith.pipeline.stages import STAGE_NAMES

DEFAULT_RUNS_DIR = Path("runs")


@dataclass(frozen=True, slots=True)
class RunOptions:
    """Options that `run` and `demo` share, as given on the command line."""

    runs_dir: Path = DEFAULT_RUNS_DIR
    settings: tuple[str, ...] = ()
    first: str = STAGE_NAMES[0]
    last: str = STAGE_NAMES[-1]
    force: bool = False
    adopt: bool = False
    as_json: bool = False

    def to_continue(self) -> list[str | Path]:
        """Arguments that bring the same run up to date from its first stage to its last."""
        runs = ["--runs", self.runs_dir] if self.runs_dir != DEFAULT_RUNS_DIR else []
        return [*runs, *set_options(self.settings)]


def run(config_path: Path, options: RunOptions) -> None:
    """Bring the run of a configuration file up to date."""
    from tinsmith.data.stage import check_data
    from tinsmith.model.answers.questions import read_questions
    from tinsmith.model.answers.wordings import read_wordings

    config = load_config(config_path, options.settings)
    folder = RunDir(options.runs_dir / config.name)
    if options.first in ("base", "data"):
        if not folder.stamp("base").exists():
            # Before a base model is fetched. With one, the data stage reads the data and says the same.
            check_data(config.data, config.seed)
        questions = read_questions(Path(config.answers.questions)) if config.answers.questions else []
        if config.answers.wordings:
            read_wordings(Path(config.answers.wordings), questions)
    command = ("run", config_path, *options.to_continue())
    run_and_report(config, folder, options, configuration_id(config_path, folder), command)


def run_and_report(
    config: RunConfig,
    run: RunDir,
    options: RunOptions,
    configuration: str | None = None,
    command: tuple[str | Path, ...] = (),
) -> None:
    """Run stages, print the results, and name the next command.

    Args:
        config: The run's configuration.
        run: The run folder.
        options: `runs_dir` and `settings` are ignored.
        configuration: The `configuration_id` that an existing run must have; None accepts any.
        command: Arguments that continue the run if this call does not finish it.

    Raises:
        SystemExit: a signal stopped the run; the exit code says which.
    """
    if not is_leader():
        _follow()
        return
    require_browser(run, options.first, options.last)
    try:
        with stoppable(say), leading():
            measurements = run_pipeline(
                config, run, say, options.first, options.last, options.force, configuration, options.adopt
            )
    except Stopped as stop:
        say("\nstopped; " + "; ".join(filter(None, (stop.saved, "finished stages are kept"))))
        if command:
            say_next(*command)
        else:
            say("run the same command again to continue")
        sys.exit(stop.exit_code)
    show(results_table(measurements))
    if run.stamp(STAGE_NAMES[-1]).exists():
        say_next("serve", run.root)
    else:
        say_next(*command)
    if options.as_json:
        show(json.dumps(as_document(run.root, measurements)))


def _follow() -> None:
    """Help the leader train. An error here also occurs in the leader, which reports it."""
    from tinsmith.train.stage import follow_leader

    join()
    try:
        follow_leader()
    except UserError:
        sys.exit(2)

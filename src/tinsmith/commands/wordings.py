"""`tinsmith wordings`: a file of wordings, other ways to ask what the passages answer, for the owner to correct.

A large language model writes them, at the endpoint that `answers.writer` names. The configuration then names the file
as `answers.wordings`.
"""

import json
from pathlib import Path

from tinsmith.commands.existing_run import config_of, existing_run, require_stage
from tinsmith.commands.terminal import say, typed
from tinsmith.core.errors import UserError
from tinsmith.core.run_dir import write_text
from tinsmith.model.passages import read_passages
from tinsmith.model.writer.checks import reasons_text
from tinsmith.model.writer.endpoint import Endpoint
from tinsmith.model.writer.wordings import written_wordings
from tinsmith.model.writer.writer import disclosure, open_writer


def wordings(run_path: Path, out: Path, count: int) -> None:
    """Ask the run's endpoint for wordings of each passage, and write them as JSONL.

    Args:
        run_path: A run with a finished knowledge stage.
        out: The file to write.
        count: Wordings per passage; fewer if some are dropped.

    Raises:
        ArtifactError: the knowledge stage has not finished.
        EndpointError: the endpoint failed.
        UserError: `out` exists, or `answers.writer` names no endpoint.
    """
    run = existing_run(run_path)
    require_stage(run, "knowledge", "the answers are not read yet: the knowledge stage has not finished")
    if out.exists() or out.is_symlink():
        raise UserError(f"{out}: already there, perhaps with your changes", "Name another file with --out.")
    config = config_of(run)
    writer = open_writer(config.answers, run.stage("base"))
    if not isinstance(writer, Endpoint):
        raise UserError(
            f"answers.writer is {config.answers.writer!r}, but only a large language model writes wordings that help",
            "Set answers.writer to the address of an endpoint, or let any assistant write the file: docs/answers.md",
        )
    passages = read_passages(run.stage("knowledge") / "passages.jsonl")
    say(disclosure(writer, len(passages)))
    written = written_wordings(passages, count, writer)
    if written.dropped:
        say(f"dropped {written.dropped.total():,}: {reasons_text(written.dropped)}")
    if written.bare_passages:
        say(f"{written.bare_passages:,} of {len(passages):,} passages have no wordings")
    rows = [{"question": one.question, "id": one.id, "origin": one.origin} for one in written.wordings]
    write_text(out, "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows))
    say(f"wrote {out}: {len(rows):,} wordings for {len(passages) - written.bare_passages:,} passages")
    say("Read them, and delete those that their passage does not answer. They become part of the site.")
    say(f"Then set answers.wordings in your configuration to this file, and: {typed('run', Path('tinsmith.toml'))}")

"""How the command line ends after an error."""

import sys
from typing import Any

import click

from tinsmith.commands.terminal import say
from tinsmith.core.disk_errors import disk_problem
from tinsmith.core.errors import UserError


class ErrorGroup(click.Group):
    """Prints user-fixable errors as a message and a hint, and exits with code 2. `--debug` shows tracebacks."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except UserError as error:
            if ctx.params.get("debug"):
                raise
            _exit_with(error.message, error.hint)
        except KeyboardInterrupt:
            say("\nstopped; run the same command again to continue")
            sys.exit(130)
        except (BrokenPipeError, click.ClickException, click.Abort, click.exceptions.Exit):
            raise  # click ends quietly when the reader of a pipe stops, as in `tinsmith check ... | head`
        except Exception as error:
            problem = disk_problem(error)
            if ctx.params.get("debug") or not problem:
                raise
            _exit_with(problem.text, f"{problem.hint} Then run the same command again.")


def _exit_with(message: str, hint: str) -> None:
    say(f"error: {message}")
    if hint:
        say(f"  -> {hint}")
    sys.exit(2)

"""All output of commands: control characters from data are escaped, and commands to type are quoted."""

import shlex
import unicodedata
from pathlib import Path

import click

_DIRECTION_OVERRIDES = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Characters that make a terminal display text in a different order from how it is stored."""


def show(text: str = "", end: str = "\n") -> None:
    """Print a result to stdout."""
    click.echo(for_terminal(text) + end, nl=False)


def say(text: str = "") -> None:
    """Print progress or a message to stderr."""
    click.echo(for_terminal(text), err=True)


def say_next(*command: str | Path) -> None:
    """Print the next command to type after a success: `tinsmith` and these arguments."""
    say(f"\nNext: {typed(*command)}")


def typed(*command: str | Path) -> str:
    """The `tinsmith` command with these arguments, quoted for a shell."""
    return shlex.join(("tinsmith", *map(_argument, command)))


def _argument(argument: str | Path) -> str:
    """`argument` as text. A path that begins with a dash gets a `./`, or it would be read as an option."""
    is_like_an_option = isinstance(argument, Path) and str(argument).startswith("-")
    return f"./{argument}" if is_like_an_option else str(argument)


def set_options(settings: tuple[str, ...]) -> list[str]:
    """Arguments that pass these settings to a command: `--set` before each."""
    return [argument for setting in settings for argument in ("--set", setting)]


def ask(prompt: str) -> str:
    """Prompt on stderr, and return a line from stdin.

    Raises:
        EOFError, click.Abort: there is no more input.
    """
    return click.prompt(prompt, prompt_suffix="> ", err=True)


def for_terminal(text: str) -> str:
    r"""`text` with control characters, lone surrogates and direction overrides escaped, such as `\x1b`."""
    return "".join(character if _is_harmless(character) else _escaped(character) for character in text)


def _is_harmless(character: str) -> bool:
    if character in "\n\t":
        return True
    return unicodedata.category(character) not in ("Cc", "Cs") and character not in _DIRECTION_OVERRIDES


def _escaped(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")

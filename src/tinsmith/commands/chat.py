"""`tinsmith chat`: a conversation with the packaged model in the terminal, on ONNX Runtime."""

from pathlib import Path

import click
import numpy as np

from tinsmith.commands.existing_run import existing_run, require_stage
from tinsmith.core.run_dir import read_json
from tinsmith.model.conversations import Message

_MAX_NEW_TOKENS = 512


def chat(run_path: Path, system: str | None) -> None:
    """Read user turns from stdin and stream greedy answers to stdout until end of input.

    The cache is kept over turns: each turn costs only its own tokens.

    Raises:
        ArtifactError: the package has not been exported.
    """
    from tinsmith.model.onnx_decoder import load_onnx
    from tinsmith.model.package_format import FLOAT32
    from tinsmith.model.tokens import load_tokenizer

    run = existing_run(run_path)
    require_stage(run, "export", "no package yet")
    package_dir = run.stage("export") / "package"
    tokenizer = load_tokenizer(package_dir)
    sequence = load_onnx(package_dir / FLOAT32.file).start()
    if system is None:
        system = read_json(run.stage("data") / "report.json")["system_prompt"]
    messages = [Message("system", system)] if system else []
    fed: list[int] = []
    click.echo("Type a question; Ctrl-D ends.", err=True)
    while True:
        try:
            question = click.prompt("you", prompt_suffix="> ", err=True).strip()
        except (EOFError, click.Abort):
            click.echo(err=True)
            return
        messages.append(Message("user", question))
        prompt = tokenizer.encode_prompt(messages)
        if prompt[: len(fed)] != fed:  # the answer's text may tokenize differently than it was generated
            sequence, fed = sequence.decoder.start(), []
        answer_ids: list[int] = []
        logits = sequence.feed(prompt[len(fed) :], keep=1)
        fed = list(prompt)
        shown = ""
        while len(answer_ids) < _MAX_NEW_TOKENS:
            token = int(np.argmax(logits[-1]))
            if token in tokenizer.end_ids:
                break
            answer_ids.append(token)
            text = tokenizer.tokenizer.decode(answer_ids, skip_special_tokens=True)
            if not text.endswith("\ufffd"):  # half a character: wait for the rest
                click.echo(text[len(shown) :], nl=False)
                shown = text
            logits = sequence.feed([token], keep=1)
            fed.append(token)
        click.echo()
        messages.append(Message("assistant", shown.strip() or "..."))

"""Measure which facts a base can memorize and which it can read from passages, compared with the page's search.

Trains the base of a run twice, with the run's settings and training loop, and asks it known questions before training
(epoch 0) and after each epoch of `--epochs`. The learning rate falls to zero at the last epoch. The run may end at its
knowledge stage: `tinsmith run CONFIG --to knowledge`. Questions are those of `--questions` that have an id and must
state something. A reply is right if it states all of that and is no longer than the longest passage. A table shows the
figures; the last line is one JSON object, `{model: {verbatim, verbatim_in_3, by_heart: {epoch: {...}}, reading: {epoch:
{...}}}}`, and `benchmarks/results/facts.json` adds intervals.

- `verbatim`, `verbatim_in_3`: the first passage that the search finds is a right reply, word for word; or one of the
  first three is.
- `by_heart`, trained on the training conversations. `as_trained`: right when asked a conversation's own question.
  `other_words`: right when asked the known question about it. With `--wordings`, the own question and its wordings
  take turns, one per epoch.
- `reading`, trained on the same conversations, and on as many with three numbered notes before the question: its own
  answer and two of the five nearest. In a fifth of them, all three are near ones, and the reply is `answers.unknown`.
  `own_note`, `own_among_three`, `three_found`: right when shown the right passage alone, the right one with the two
  nearest wrong ones, and the first three that the search finds. `three_wrong_refused`, `near_refused`: replied with
  `answers.unknown` when shown the three nearest wrong passages, and to near questions. The other names with `_refused`
  are refusals of the sets above.
- `val_loss`: loss on the run's validation conversations, in nats per token.

Models that a call leaves out keep their earlier results. A figure is null if no question measures it. Nothing is
reported if the judge accepts replies that are wrong by construction.
"""

import argparse
import random
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from answers import DEMO_QUESTIONS, print_columns, questions_at, warn_of_unknown_ids
from harness import SEED, environment, publish, published

from tinsmith.commands.existing_run import config_of, existing_run
from tinsmith.core.config import RunConfig
from tinsmith.core.device import choose_device
from tinsmith.core.intervals import clustered_wilson
from tinsmith.core.run_dir import read_json
from tinsmith.evaluate.generate import first_turn
from tinsmith.model.answers.answers import Answers
from tinsmith.model.answers.judge import CONTROLS, control_replies, is_right_text, passage_key
from tinsmith.model.answers.questions import Question, check_questions
from tinsmith.model.answers.rates import is_right, passed_controls, withheld_reason
from tinsmith.model.answers.statements import normalized
from tinsmith.model.answers.wordings import read_wordings
from tinsmith.model.conversations import Conversation, Message, read_jsonl
from tinsmith.model.generation import torch_answers
from tinsmith.model.passages import Passage
from tinsmith.model.tokens import load_tokenizer
from tinsmith.train.loop import Examples, Progress, run_training, steps_per_epoch
from tinsmith.train.optimizer import MasterAdamW
from tinsmith.train.qlora import load_qlora
from tinsmith.train.stage import build_engine

MAX_NEW_TOKENS = 128
NOTES = 3
NEAREST = 5
"""Wrong notes in training are drawn from this many."""
UNANSWERED = 0.2
"""Share of conversations with notes whose own answer is left out."""

Share = dict[str, float] | None
Prompts = dict[str, list[tuple[Question, tuple[Message, ...]]]]
"""Name of a set -> its questions, each with what the model is shown."""
Reply = Callable[[Sequence[Sequence[Message]]], list[str]]


@dataclass(frozen=True)
class Facts:
    """A run's training conversations and passages, and questions about them."""

    train: Sequence[Conversation]
    answers: Answers
    wordings: Mapping[str, Sequence[str]]
    """Wordings for each training conversation, by its id."""
    known: Sequence[Question]
    near: Sequence[Question]

    @cached_property
    def passages(self) -> dict[str, Passage]:
        return {passage.id: passage for passage in self.answers.passages}

    @cached_property
    def longest(self) -> int:
        return max(len(passage.text) for passage in self.answers.passages)

    def prompt(self, text: str) -> tuple[Message, ...]:
        """A question after the system message that most training conversations begin with."""
        [(system, _)] = Counter(first_turn(conversation).system for conversation in self.train).most_common(1)
        return (*((Message("system", system),) if system else ()), Message("user", text))

    def wording(self, index: int, epoch: int) -> str:
        """The wording of a training conversation's first question in an epoch, counted from 0."""
        conversation = self.train[index]
        wordings = (first_turn(conversation).question, *self.wordings.get(conversation.id, ()))
        return wordings[(index + epoch) % len(wordings)]

    def is_right_reply(self, question: Question, text: str) -> bool:
        return is_right_text(question, text, self.longest)

    def is_refusal(self, text: str) -> bool:
        return normalized(text).startswith(normalized(self.answers.unknown).rstrip("."))


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parsed_arguments(argv)
    run = existing_run(arguments.run)
    config = config_of(run)
    facts = facts_of(arguments)
    require_strict_judge(facts)
    report: dict[str, Any] = verbatim(facts)
    tasks = {"by_heart": (by_heart, by_heart_prompts(facts)), "reading": (reading, reading_prompts(facts))}
    for name, (conversations, prompts) in tasks.items():
        of_epoch, measure = partial(conversations, facts), partial(figures, facts, prompts)
        report[name] = trained_figures(run.root, config, arguments.epochs, of_epoch, measure)
        show_table(name, report[name])
    models = published("facts")
    models[read_json(run.stage("base") / "base.json")["id"].rpartition("/")[2].lower()] = report | {
        "train": config.train.model_dump(mode="json"),
        "conversations": len(facts.train),
        "wordings": sum(map(len, facts.wordings.values())),
        "questions": arguments.questions.name,
        "environment": environment(arguments.run, ("torch", "transformers", "peft")),
    }
    publish("facts", models, {name: shares_only({key: one.get(key) for key in report}) for name, one in models.items()})


def parsed_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, default=Path("runs/demo"), help="a run, at least to its knowledge stage")
    parser.add_argument("--questions", type=Path, default=DEMO_QUESTIONS, help="a file, or a folder of JSONL files")
    parser.add_argument("--wordings", type=Path, help="a file of wordings, other ways to ask what passages answer")
    parser.add_argument("--epochs", default="2,4,7", help="epochs to measure after, separated by commas")
    arguments = parser.parse_args(argv)
    listed = arguments.epochs.split(",")
    if not all(epoch.strip().isdecimal() and int(epoch) for epoch in listed):
        parser.error(f"--epochs: must be whole numbers from 1, separated by commas (found {arguments.epochs!r})")
    arguments.epochs = sorted({int(epoch) for epoch in listed})
    return arguments


def facts_of(arguments: argparse.Namespace) -> Facts:
    folder = arguments.run / "knowledge" / "answers"
    if not folder.is_dir():
        sys.exit(f'{folder}: missing, so there is no search to compare with. Run with answers.mode = "auto"')
    answers, questions = Answers(folder), questions_at(arguments.questions)
    if len(answers.passages) <= NOTES:
        sys.exit(f"{folder}: {len(answers.passages)} passages; {NOTES} wrong notes need at least {NOTES + 1}")
    warn_of_unknown_ids(questions, answers.passages)
    ids = {passage.id for passage in answers.passages}
    known = [one for one in questions if one.kind == "known" and one.must_state and one.id in ids]
    if not known:
        sys.exit(f"{arguments.questions}: no known question with must_state and the id of a passage of {arguments.run}")
    check_questions(known, answers.passages)
    train = list(read_jsonl(arguments.run / "data" / "train.jsonl"))
    wordings: dict[str, list[str]] = {conversation.id: [] for conversation in train}
    for wording in read_wordings(arguments.wordings, questions) if arguments.wordings else ():
        if wording.id in wordings:
            wordings[wording.id].append(wording.question)
    return Facts(train, answers, wordings, known, [one for one in questions if one.kind == "near"])


def require_strict_judge(facts: Facts) -> None:
    """Stop if replies that are wrong by construction count as right."""
    own = [facts.passages[question.id].text for question in facts.known]
    replies = control_replies(facts.known, own, [passage.text for passage in facts.answers.passages], SEED)
    accepted = {
        f"control.{name}": sum(map(facts.is_right_reply, facts.known, replies[name])) / len(facts.known)
        for name in CONTROLS
    }
    print(f"wrong replies that the judge accepts: {accepted}")
    if passed := passed_controls(accepted):
        sys.exit(f"nothing is reported: {withheld_reason(passed)}")


def verbatim(facts: Facts) -> dict[str, Share]:
    """How often the search's first passages are right replies as they stand."""
    right = [
        [facts.is_right_reply(one, passage.text) for passage in facts.answers.closest(one.question)[:NOTES]]
        for one in facts.known
    ]
    first, in_three = [flags[0] for flags in right], list(map(any, right))
    return {"verbatim": share(facts.known, first), "verbatim_in_3": share(facts.known, in_three)}


def by_heart(facts: Facts, epoch: int) -> list[Conversation]:
    """The training conversations, each with the wording of this epoch."""
    return [retold(one, facts.wording(index, epoch)) for index, one in enumerate(facts.train)]


def by_heart_prompts(facts: Facts) -> Prompts:
    trained = {conversation.id: first_turn(conversation).messages for conversation in facts.train}
    known = [question for question in facts.known if question.id in trained]
    return {
        "as_trained": [(question, trained[question.id]) for question in known],
        "other_words": [(question, facts.prompt(question.question)) for question in known],
    }


def reading(facts: Facts, epoch: int) -> list[Conversation]:
    """The training conversations, then again with notes those whose answer is a passage, in this epoch's wording."""
    chance = random.Random(f"{SEED} notes of epoch {epoch}")
    readable = [index for index, conversation in enumerate(facts.train) if conversation.id in facts.passages]
    unanswered = set(chance.sample(readable, round(UNANSWERED * len(readable))))
    conversations = list(facts.train)
    for index in readable:
        conversation, question = facts.train[index], facts.wording(index, epoch)
        own, reply = facts.passages[conversation.id], first_turn(conversation).reference
        others = [one for one in facts.answers.closest(question) if one.id != own.id and one.text != own.text]
        notes = [own, *chance.sample(others[:NEAREST], NOTES - 1)]
        if index in unanswered:
            notes, reply = others[:NOTES], facts.answers.unknown
        chance.shuffle(notes)
        conversations.append(retold(conversation, with_notes(question, notes), reply))
    return conversations


def reading_prompts(facts: Facts) -> Prompts:
    names = ("own_note", "own_among_three", "three_found", "three_wrong", "near")
    prompts: Prompts = {name: [] for name in names}
    for question in facts.known:
        own, closest = facts.passages[question.id], facts.answers.closest(question.question)
        wrong = [passage for passage in closest if not is_right(question, passage, facts.longest)][:NOTES]
        mixed = [own, *wrong[: NOTES - 1]]
        random.Random(f"{SEED} {question.question}").shuffle(mixed)
        for name, notes in zip(names, ([own], mixed, closest[:NOTES], wrong), strict=False):
            prompts[name].append((question, facts.prompt(with_notes(question.question, notes))))
    for question in facts.near:
        notes = facts.answers.closest(question.question)[:NOTES]
        prompts["near"].append((question, facts.prompt(with_notes(question.question, notes))))
    return prompts


def with_notes(question: str, passages: Sequence[Passage]) -> str:
    notes = "\n\n".join(f"[{number}] {passage.text}" for number, passage in enumerate(passages, start=1))
    return f"Notes:\n\n{notes}\n\nQuestion: {question}"


def retold(conversation: Conversation, question: str, reply: str = "") -> Conversation:
    """A conversation with another first question. With another reply too, it ends there."""
    at = next(index for index, message in enumerate(conversation.messages) if message.role == "user")
    after = (Message("assistant", reply),) if reply else conversation.messages[at + 1 :]
    return replace(conversation, messages=(*conversation.messages[:at], Message("user", question), *after))


def trained_figures(
    run: Path,
    config: RunConfig,
    epochs: Sequence[int],
    conversations: Callable[[int], list[Conversation]],
    measure: Callable[[Reply], dict[str, Share]],
) -> dict[str, dict[str, Any]]:
    """Train the run's base on `conversations(epoch)`; figures by epoch, `0` and each of `epochs`, with `val_loss`."""
    # Transformers cannot compute with packed weights; the values are the same.
    changes = {"epochs": epochs[-1], "steps": 0, "patience": 0, "backend": "peft", "nf4_storage": "unpacked"}
    settings, compute = config.train.model_copy(update=changes), choose_device()
    tokenizer = load_tokenizer(run / "base" / "model")
    train = tokenizer.encode_all(conversations(0))
    examples = Examples(train, tokenizer.encode_all(read_jsonl(run / "data" / "val.jsonl")))
    trainable = load_qlora(run / "base" / "model", settings, compute, config.seed)
    parameters = {name: one for name, one in trainable.model.named_parameters() if one.requires_grad}
    optimizer = MasterAdamW(parameters, compute.dtype, settings)
    pad_id, weights = tokenizer.tokenizer.pad_token_id or 0, sum(one.numel() for one in parameters.values())
    engine, _ = build_engine(settings, trainable, pad_id, examples, weights, compute, config.seed)
    progress = Progress()

    def reply(prompts: Sequence[Sequence[Message]]) -> list[str]:
        ids = [tokenizer.encode_prompt(messages) for messages in prompts]
        model = trainable.model.get_base_model().eval()
        limit = config.evaluate.max_new_tokens or MAX_NEW_TOKENS
        return [one.text for one in torch_answers(model, tokenizer, ids, limit, "answer")]

    def after_steps() -> None:
        epoch, steps = divmod(progress.step, steps_per_epoch(settings, len(train)))
        if not steps:
            if epoch in epochs:
                by_epoch[epoch] = measure(reply)
            if epoch < epochs[-1]:
                train[:] = tokenizer.encode_all(conversations(epoch))

    by_epoch = {0: measure(reply)}
    run_training(engine, optimizer, examples, settings, config.seed, progress, {}, after_steps)
    val_losses = {line["epoch"]: line["val_loss"] for line in progress.log if "val_loss" in line}
    return {str(epoch): {**one, "val_loss": val_losses[epoch]} for epoch, one in by_epoch.items()}


def figures(facts: Facts, prompts: Prompts, reply: Reply) -> dict[str, Share]:
    """Shares of right replies and of refusals, by set."""
    replies = iter(reply([messages for pairs in prompts.values() for _, messages in pairs]))
    shares: dict[str, Share] = {}
    for name, pairs in prompts.items():
        questions, texts = [question for question, _ in pairs], [next(replies) for _ in pairs]
        shares[name] = share(questions, list(map(facts.is_right_reply, questions, texts)))
        shares[f"{name}_refused"] = share(questions, list(map(facts.is_refusal, texts)))
    shares.pop("near", None)  # no reply to them is right
    return shares


def share(questions: Sequence[Question], flags: Sequence[bool]) -> Share:
    if not questions:
        return None
    interval = clustered_wilson(flags, [passage_key(question) for question in questions])
    return {"share": sum(flags) / len(flags), "questions": len(flags), **interval}


def shares_only(report: Any) -> Any:
    """The report with a number in place of each share with its interval."""
    if not isinstance(report, dict):
        return report
    return report["share"] if "share" in report else {key: shares_only(value) for key, value in report.items()}


def show_table(name: str, by_epoch: dict[str, dict[str, Any]]) -> None:
    """One line for each figure, one column for each epoch."""
    columns = [shares_only(one) for one in by_epoch.values()]
    values = {figure: [column[figure] for column in columns] for figure in columns[0]}
    rows = [(figure, *("" if one is None else f"{one:.2f}" for one in ones)) for figure, ones in values.items()]
    print_columns([(f"{name}, epoch", *by_epoch), *rows])


if __name__ == "__main__":
    main()

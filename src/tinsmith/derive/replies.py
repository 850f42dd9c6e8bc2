"""Numbers of replies, from the questions and replies of the evaluate stage."""

from collections.abc import Callable, Iterable

from tinsmith.core.errors import ArtifactError
from tinsmith.derive.files import Files
from tinsmith.derive.losses import clean_conversations
from tinsmith.derive.rules import Derived, Fields, Function, Rule
from tinsmith.model.replies import rates
from tinsmith.model.replies.asked import Asked, all_asked
from tinsmith.model.replies.rates import Number
from tinsmith.model.replies.reply_format import ReplyFormat

ANSWERS = "evaluate/answers.jsonl"
OUT_OF_SCOPE = "evaluate/out_of_scope.jsonl"
FORMAT = "evaluate/format.json"

Numbers = dict[str, Number]


def fact_share(files: Files, group: str, subject: str) -> Derived | None:
    """Share of a group's facts that a subject states, or of the numbers in its replies that are wrong."""
    return _derived(files.once(_facts), f"evaluate.facts.{group}.{subject}")


def contradicted_share(files: Files, group: str, subject: str) -> Derived | None:
    """Share of a group's facts that a subject contradicts."""
    return _derived(files.once(_facts), f"evaluate.contradicted.{group}.{subject}")


def control_share(files: Files, control: str) -> Derived | None:
    """Share of facts found in replies that are wrong by construction."""
    return _derived(files.once(_controls), f"evaluate.facts.control.{control}")


def question_count(files: Files, group: str) -> Derived | None:
    """Questions of a group."""
    return _derived(files.once(_questions), f"evaluate.questions.{group}")


def question_with_facts_count(files: Files, group: str) -> Derived | None:
    """Questions whose reference states a fact of a group."""
    return _derived(files.once(_questions), f"evaluate.questions_with_facts.{group}")


def reply_number(files: Files, name: str, subject: str) -> Derived | None:
    """How replies end, repeat themselves, how long they are, and whether their JSON is valid."""
    return _derived(files.once(_replies), f"evaluate.answers.{name}.{subject}")


def memorised_share(files: Files, group: str, model: str) -> Derived | None:
    """Share of a group's references that a model repeats word for word."""
    return _derived(files.once(_memorised), f"evaluate.memorised.{group}.{model}")


def refused_share(files: Files, kind: str) -> Derived | None:
    """Share of questions out of scope to which INT4 alone admits not to know the answer."""
    return _derived(files.once(_refused), f"evaluate.refused.{kind}.int4")


def withheld(files: Files) -> str:
    """Why scores of facts are withheld, as a sentence without its end; empty if they are not."""
    return rates.withheld_reason(files.once(_controls))


def facts_by_group(files: Files) -> dict[str, int]:
    """Number of facts in each group."""
    counts = dict.fromkeys(rates.FACT_GROUPS, 0)
    for one in files.once(_asked):
        for fact in one.facts:
            counts[rates.fact_groups(one, fact, frozenset())[0]] += 1
    return counts


def has_page(files: Files) -> bool:
    """Whether the page was asked too."""
    return all(one.page for one in files.once(_asked))


def _asked(files: Files) -> list[Asked]:
    return all_asked(files.lines(ANSWERS), ANSWERS)


def _facts(files: Files) -> Numbers:
    numbers = rates.fact_numbers(files.once(_asked), clean_conversations(files))
    if not withheld(files):
        return numbers
    return {id: number for id, number in numbers.items() if id.startswith("evaluate.facts.wrong_numbers.")}


def _controls(files: Files) -> Numbers:
    return rates.control_numbers(files.once(_asked))


def _questions(files: Files) -> Numbers:
    return rates.question_numbers(files.once(_asked), clean_conversations(files))


def _replies(files: Files) -> Numbers:
    reply_format = ReplyFormat.from_dict(files.json(FORMAT)) if files.has(FORMAT) else None
    return rates.reply_numbers(files.once(_asked), reply_format)


def _memorised(files: Files) -> Numbers:
    return rates.memorisation_numbers(files.once(_asked))


def _refused(files: Files) -> Numbers:
    return rates.refusal_numbers(files.lines(OUT_OF_SCOPE))


def _derived(numbers: Numbers, id: str) -> Derived | None:
    number = numbers.get(id)
    if number is None:
        return None
    return Derived(number.value, number.unit, number.count, number.count_of, number.spread)


def _rule(pattern: str, raw: str, function: Function, numbers: Callable[[Files], Numbers]) -> Rule:
    """A rule for all ids of `numbers` that match `pattern`."""

    def each(files: Files) -> Iterable[Fields]:
        try:
            ids = files.once(numbers) if files.has(raw) else {}
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ArtifactError(
                f"{raw}: no numbers follow from it and the files beside it ({type(error).__name__}: {error})",
                "Restore the evaluate stage's files from a copy, or run again: tinsmith run --from evaluate --force",
            ) from error
        return [fields for id in ids if (fields := rule.fields(id)) is not None]

    rule = Rule(pattern, raw, function, each)
    return rule


REPLY_RULES = (
    _rule("evaluate.questions.{group}", ANSWERS, question_count, _questions),
    _rule("evaluate.questions_with_facts.{group}", ANSWERS, question_with_facts_count, _questions),
    _rule("evaluate.facts.control.{control}", ANSWERS, control_share, _controls),
    _rule("evaluate.facts.{group}.{subject}", ANSWERS, fact_share, _facts),
    _rule("evaluate.contradicted.{group}.{subject}", ANSWERS, contradicted_share, _facts),
    _rule("evaluate.answers.{name}.{subject}", ANSWERS, reply_number, _replies),
    _rule("evaluate.memorised.{group}.{model}", ANSWERS, memorised_share, _memorised),
    _rule("evaluate.refused.{kind}.int4", OUT_OF_SCOPE, refused_share, _refused),
)

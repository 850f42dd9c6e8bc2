"""The card's section about answers from the owner's own words: what the page does, and how often it is right."""

from typing import Any

from tinsmith.card.evidence import required
from tinsmith.card.facts import Facts
from tinsmith.model.answers.judge import CONTROLS
from tinsmith.model.answers.questions import ANSWERABLE

Row = dict[str, str]

RECORD = "knowledge.json"
SETTINGS = "answers/answers.json"
CURVE = "answers_curve.png"

KIND_WORDS = {
    "known": "Questions that a passage answers",
    "follow_up": "Follow-up questions",
    "near": "Questions on the subject, but answered by no passage",
    "far": "Questions about something else",
    "hostile": "Questions that ask to ignore rules or to confirm a falsehood",
}
ANSWER_ROWS = (
    (
        KIND_WORDS["known"],
        (
            ("answers.known.right", "put the right passage first"),
            ("answers.known.right_in_3", "had it among the first three"),
            ("answers.known.right_shown", "showed the right passage, as the answer or as the closest"),
            ("answers.known.wrong_shown", "showed a wrong passage, as the answer or as the closest"),
            ("answers.known.wrong", "gave a wrong passage as the answer"),
            ("answers.known.wrong_likely", 'showed a wrong passage as "closest to your question"'),
            ("answers.known.silent", "said that it does not know"),
        ),
    ),
    (
        "The same, asked of the model alone",
        (
            ("evaluate.closed_book.right", "was right from memory, without passages"),
            ("evaluate.closed_book.page_right", "on the same questions, the page put the right passage first"),
        ),
    ),
    (
        KIND_WORDS["follow_up"],
        (
            ("answers.follow_up.right", "put the right passage first"),
            ("answers.follow_up.right_in_3", "had it among the first three"),
        ),
    ),
    (KIND_WORDS["near"], (("answers.near.refused", "said that it does not know"),)),
    (KIND_WORDS["far"], (("answers.far.refused", "said that it does not know"),)),
    (
        KIND_WORDS["hostile"],
        (("answers.hostile.resisted", "confirmed nothing, and showed nothing but the owner's words"),),
    ),
)
"""Kinds of questions in words, each with measurement ids and what they count."""

_AUTHORS = {
    "owner": "by the owner",
    "rules": "made from the data by rules",
    "base": "written by the base model",
    "endpoint": "written by another language model",
}
_BY_RULES = {
    "near": "answerable ones, asked without the passages that answer them",
    "far": "from a list that is the same for all data",
    "hostile": "from a list that is the same for all data",
}
"""Questions of other kinds whose origin is `rules`."""
CONTROL_WORDS = (
    "the right reply to another question",
    "the right reply with its facts denied or changed",
    "an empty reply",
    "all passages at once",
)


def answer_variables(facts: Facts) -> dict[str, Any]:
    """Variables of `answers.md.j2`."""
    return {
        "has_knowledge": "knowledge" in facts.evidence.stamps,
        "shows_passages": shows_passages(facts),
        "why_no_passages": "" if shows_passages(facts) else _why_no_passages(facts),
        "answer_rows": answer_rows(facts),
        "rung_rows": rung_rows(facts),
        "question_counts": question_counts(facts),
        "curve_text": _curve_text(facts),
        "wordings": wordings(facts),
        "encoders": encoders(facts) if shows_passages(facts) else [],
        "fallback": facts.raw("knowledge", SETTINGS, "fallback"),
        "has_rule_questions": any("rules" in _origins(facts).get(kind, ()) for kind in ANSWERABLE),
        "has_model_questions": any({"base", "endpoint"} & origins.keys() for origins in _origins(facts).values()),
        "controls": controls(facts),
    }


def shows_passages(facts: Facts) -> bool:
    """Whether the site shows the owner's words."""
    answers = facts.evidence.config.answers
    return answers.publish and answers.mode != "model" and facts.raw("knowledge", SETTINGS, "passages") is not None


def _why_no_passages(facts: Facts) -> str:
    if facts.raw("knowledge", SETTINGS, "passages") is None:
        return facts.recorded("knowledge", RECORD, "reason")
    key = "mode" if facts.evidence.config.answers.mode == "model" else "publish"
    text = {"mode": "the owner set it so", "publish": "the owner has not agreed to publish answers word for word"}[key]
    return facts.configured(f"answers.{key}", text)


def answer_rows(facts: Facts) -> list[Row]:
    """One row per rate that was measured, by kind of question; a kind without measurements is left out."""
    rows = []
    for kind, counted in ANSWER_ROWS:
        measured = [(id, what) for id, what in counted if facts.has(id)]
        for number, (id, what) in enumerate(measured):
            name = kind if number == 0 else ""
            rows.append({"kind": name, "what": what, "share": facts.cell(id), "n": facts.rests_on(id)})
    if not facts.has("answers.known.right"):
        kind, ((id, what), *_) = ANSWER_ROWS[0]
        rows.insert(0, {"kind": kind, "what": what, "share": facts.cell(id), "n": ""})
    return rows


def rung_rows(facts: Facts) -> list[Row]:
    """What the page did with known questions: how often each, and how often its first passage was right then."""
    steps = (
        ("sure", "sure", "Gave a passage as the answer"),
        ("likely", "likely", 'Showed it as "closest to your question"'),
        ("silent", "unsure", "Said that it does not know, with the closest as buttons"),
    )
    rows = []
    for name, rung, what in steps:
        right = f"answers.known.right_when.{rung}"
        if facts.has(f"answers.known.{name}"):
            rows.append(
                {
                    "what": what,
                    "share": facts.cell(f"answers.known.{name}"),
                    "right": facts.cell(right) if facts.has(right) else "",
                    "n": facts.rests_on(right),
                }
            )
    return rows


def question_counts(facts: Facts) -> list[str]:
    """Number of questions of each kind, and who wrote them."""
    lines = []
    for kind, origins in _origins(facts).items():
        authors = _AUTHORS | ({"rules": _BY_RULES[kind]} if kind in _BY_RULES else {})
        written = " and ".join(f"{count} {authors[origin]}" for origin, count in origins.items())
        lines.append(facts.recorded_value("knowledge", RECORD, f"questions.{kind}", f"{KIND_WORDS[kind]}: {written}"))
    return lines


def wordings(facts: Facts) -> list[str]:
    """Number of wordings that the search uses, by author."""
    counts = facts.raw("knowledge", RECORD, "wordings") or {}
    return [
        facts.recorded_value("knowledge", RECORD, f"wordings.{origin}", f"{count:,} {_AUTHORS[origin]}")
        for origin, count in counts.items()
    ]


def _origins(facts: Facts) -> dict[str, dict[str, int]]:
    return facts.raw("knowledge", RECORD, "questions") or {}


def controls(facts: Facts) -> list[Row]:
    """One row per kind of wrong reply that the judge was checked with."""
    ids = {f"answers.control.{name}": what for name, what in zip(CONTROLS, CONTROL_WORDS, strict=True)}
    return [{"what": what, "share": facts.cell(id)} for id, what in ids.items() if facts.has(id)]


def _curve_text(facts: Facts) -> str:
    has_picture = facts.evidence.sha256(f"knowledge/{CURVE}") is not None
    return facts.recorded("knowledge", RECORD, "curve") if has_picture else ""


def encoders(facts: Facts) -> list[Row]:
    """Name, licence and size of each small network that visitors download to find passages."""
    rows = []
    for number, encoder in enumerate(facts.raw("knowledge", SETTINGS, "encoders") or []):
        name, id, license = (required(encoder, key, f"knowledge/{SETTINGS}") for key in ("name", "id", "license"))
        key = f"encoders.{number}"
        rows.append(
            {
                "id": facts.recorded_value("knowledge", SETTINGS, f"{key}.id", id),
                "license": facts.recorded_value("knowledge", SETTINGS, f"{key}.license", license),
                "size": facts.value(f"knowledge.encoder.{name}.bytes"),
            }
        )
    return rows

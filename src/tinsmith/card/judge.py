"""What EVIDENCE.md says of a language model that judged the replies, whether its grades are shown or not."""

from tinsmith.card.evidence import required
from tinsmith.card.facts import Facts, plain
from tinsmith.model.grades import CRITERIA

_RECORD = "judge/judge.json"
_KNOWN = {
    "reference": "the reference answers themselves, it accepted",
    "swapped": "the reference answers with the facts of another question, it accepted",
    "negated": "the reference answers denied, it accepted",
    "other": "the reference answers to other questions, it accepted",
    "empty": "empty replies, it accepted",
    "padded": "the reference answers half as long again without saying more, it graded above the plain ones",
}
_SHARES = {
    "judge.consistency": "the questions that it was asked twice, it gave the same grade to",
    "judge.order_consistency": "the comparisons of base and INT4, it decided the same in both orders",
    "judge.preferred.base": "those comparisons, the base won in both orders",
    "judge.preferred.int4": "those comparisons, INT4 won in both orders",
    "judge.agreement.accuracy": "the verdicts on accuracy by people, it gave the same",
    "judge.agreement.factual": "the verdicts on factual correctness by people, it gave the same",
    "judge.agreement.quality": "the grades of quality by people, it gave the same",
}


def judge_lines(facts: Facts) -> list[str]:
    """Who judged, why grades are withheld, and how the judge did on known replies; empty if no model has judged."""
    record = facts.evidence.record("judge", "judge.json")
    if not record:
        return []
    names = ("model", "host", "calls", "items", "last_asked", "prompts_sha256", "withheld")
    model, host, calls, items, day, prompts, withheld = (required(record, name, _RECORD) for name in names)
    who = (
        f"The language model {plain(model)} on {plain(host)} judged replies to {items} questions in {calls:,} calls at "
        f"temperature 0, the last on {day} (SHA-256 of its prompts {prompts[:12]}...)."
    )
    lines = [facts.recorded_value("judge", "judge.json", "model", who)]
    reasons = set(withheld.values())
    for reason in sorted(reasons):
        titles = "Its grades" if len(withheld) == len(CRITERIA) else f"Its grades of {' and '.join(sorted(withheld))}"
        lines.append(facts.recorded_value("judge", "judge.json", "withheld", f"{titles} are withheld: {reason}."))
    ids = {f"judge.control.{kind}": what for kind, what in _KNOWN.items()} | _SHARES
    return lines + [f"Of {what}: {facts.cell(id)}" for id, what in ids.items() if facts.has(id)]

"""What a stage writes about how often answers are right: the raw outcomes, the picture, and facts for its record."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tinsmith.model.answers.curve import curve_text, plot_curve
from tinsmith.model.answers.questions import KINDS
from tinsmith.model.answers.rates import Outcome, withheld_rates, write_outcomes

OUTCOMES_FILE = "answers_questions.jsonl"
CURVE_FILE = "answers_curve.png"


def report_outcomes(outcomes: Sequence[Outcome], out_dir: Path) -> dict[str, Any]:
    """Write `answers_questions.jsonl` and, if there are known questions, `answers_curve.png`.

    Args:
        outcomes: From `judged`, of questions that did not set the thresholds.
        out_dir: Folder that the stage writes to.

    Returns:
        For the stage's record: `questions` (kind -> origin -> count), `curve` (the picture in words; empty without
        one), and `withheld` (why known questions have no scores; empty if they have).
    """
    write_outcomes(out_dir / OUTCOMES_FILE, outcomes)
    withheld = withheld_rates(outcomes)
    known = [outcome for outcome in outcomes if outcome.question.kind == "known"]
    if not known:
        withheld = withheld or "no question that a passage answers was asked"
    if not withheld:
        plot_curve(known, "Of the answers to known questions, how many are wrong", out_dir / CURVE_FILE)
    origins = {kind: Counter(one.question.origin for one in outcomes if one.question.kind == kind) for kind in KINDS}
    return {
        "questions": {kind: dict(sorted(counts.items())) for kind, counts in origins.items() if counts},
        "curve": "" if withheld else curve_text(known),
        "withheld": withheld,
    }

"""What the page and the model alone answered in a made-up run."""

from tinsmith.model.answers.curve import curve_text
from tinsmith.model.answers.questions import Question
from tinsmith.model.answers.rates import Outcome, Shown, judged
from tinsmith.model.passages import Passage, Source

PASSAGES = [
    Passage(
        f"p{price}", "answer", f"Price of tea {price}", f"Tea {price} costs {price} rupiah.", Source("tea.jsonl", "1")
    )
    for price in range(11, 31)
]


def outcomes() -> list[Outcome]:
    """Twenty known questions: of ten answers given one is wrong, of six shown as the closest two are."""
    questions, shown = [], []
    for number, passage in enumerate(PASSAGES):
        rung = "sure" if number < 10 else "likely" if number < 16 else "unsure"
        is_right = number not in (9, 14, 15, 19)
        other = PASSAGES[number - 1]
        best = (passage, other) if is_right else (other, passage) if number == 9 else (other,)
        questions.append(
            Question(passage.title, "known", passage.id, (passage.text[6:],), origin="owner" if number % 2 else "rules")
        )
        shown.append(Shown(rung, 0.95 - number / 25, best))
    for kind, rungs in {
        "near": ("unsure",) * 4 + ("likely",),
        "far": ("unsure",) * 6,
        "hostile": ("unsure",) * 4 + ("sure",) * 2,
    }.items():
        questions += [Question(f"{kind} {number}?", kind) for number in range(len(rungs))]
        shown += [Shown(rung, 0.1, (PASSAGES[0],)) for rung in rungs]
    for passage in PASSAGES[:5]:
        questions.append(Question("And that?", "follow_up", passage.id, (passage.text[6:],), (), ("Which tea?",)))
        shown.append(Shown("sure", 0.8, (PASSAGES[0], PASSAGES[1])))
    return judged(questions, shown, PASSAGES, seed=1)


def knowledge_records() -> dict[str, object]:
    """Run-relative path -> JSON record."""
    known = [outcome for outcome in outcomes() if outcome.question.kind == "known"]
    return {
        "knowledge/knowledge.json": {
            "passages": len(PASSAGES),
            "mode": "ladder",
            "fallback_reason": "no numbers of the answers stand in the system prompt",
            "wordings": {"endpoint": 160, "owner": 3},
            "questions": {
                "known": {"owner": 10, "rules": 10},
                "near": {"owner": 5},
                "far": {"owner": 6},
                "hostile": {"owner": 6},
                "follow_up": {"owner": 5},
            },
            "curve": curve_text(known),
            "withheld": "",
        },
    }


def closed_book_lines() -> list[dict]:
    """The model alone, asked six of the known questions, is right about one."""
    return [
        {
            "question": passage.title,
            "id": passage.id,
            "must_state": [passage.text[6:]],
            "must_not_state": [],
            "max_characters": max(len(one.text) for one in PASSAGES),
            "page_right": number != 5,
            "text": passage.text if number == 0 else "It is free.",
            "right": number == 0,
        }
        for number, passage in enumerate(PASSAGES[:6])
    ]

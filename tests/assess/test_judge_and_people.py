"""A judge and people see the same replies, and what people save corrects the judge."""

import pytest

from judges import graded
from reviews import CHOICE, SEED, answer, write_answers, write_review
from stage_runs import run_stage
from tinsmith.assess.items import read_items
from tinsmith.assess.judge_calls import planned_calls
from tinsmith.assess.judge_file import Judge, Judgements, Reply
from tinsmith.assess.judge_stage import record_judgements
from tinsmith.assess.review_file import import_reviews
from tinsmith.assess.review_set import review_set
from tinsmith.assess.review_stage import record_reviews


def kind(prompt):
    """Knows every known reply, and accepts whatever else is about money."""
    reply = prompt.partition("<reply>\n")[2].partition("\n</reply>")[0]
    reference = prompt.partition("<reference>\n")[2].partition("\n</reference>")[0]
    is_right = reply.startswith(reference) or ("kr." in reply and "weighs" not in reply)
    if "- 5:" in prompt:
        return graded("4" if is_right else "1")
    return graded("0" if "<first>" in prompt else "yes" if is_right else "no")


@pytest.fixture
def folders(tmp_path):
    """50 questions; int4 names the right price for half of them, and another for the rest."""
    answers = [answer(n) for n in range(50)]
    for line in answers[::2]:
        line["int4"]["text"] = f"{line['int4']['text'][:-4]}9 kr."
    write_answers(tmp_path / "evaluate", answers)
    for name in ("judgements", "reviews", "review", "judge"):
        (tmp_path / name).mkdir()
    folder = Judgements(tmp_path / "judgements")
    folder.begin(Judge("kind-1", "api.example.com", ("held_out",), 50, "digest"))
    for call in planned_calls(read_items(tmp_path / "evaluate"), ("held_out",), 50, SEED):
        folder.add(Reply(call.key, kind(call.prompt), "kind-1", 0, 0))
    return tmp_path


def judge(folders):
    paths = (folders / name for name in ("evaluate", "review", "judgements", "judge"))
    return {m.id: m for m in run_stage(record_judgements, *paths, seed=SEED).measurements}


def test_forty_people_verdicts_correct_a_judge_of_fifty(folders):
    alone = judge(folders)["judge.accuracy.int4"]
    assert alone.value == 10 and alone.count == 50, "it takes every price for right"

    def by_price(item, subject):
        is_right = subject == "int4" and int(item.id.partition(":")[2]) % 2 == 1
        return int(is_right), int(is_right), 4 if is_right else 2

    path = write_review(folders / "ada.json", folders / "evaluate", "Ada", by_price)
    import_reviews([path], folders / "evaluate", folders / "reviews", SEED)
    run_stage(record_reviews, folders / "evaluate", folders / "reviews", folders / "review", seed=SEED)
    shown = review_set(folders / "evaluate", CHOICE, SEED).items
    right = sum(int(item.id.partition(":")[2]) % 2 for item in shown)
    numbers = judge(folders)
    corrected = numbers["judge.accuracy.int4"]
    assert len(shown) == 40 and corrected.value == pytest.approx(10 * right / 40) and corrected.count == 50
    assert corrected.spread["ci95_low"] < 5 < corrected.spread["ci95_high"] < 7.5
    assert numbers["judge.agreement.accuracy"].count == 80 and numbers["judge.agreement.accuracy"].value == (
        pytest.approx((40 + right) / 80)
    )

"""Wordings that an endpoint writes: one request per passage, one wording per line, and none that misleads."""

from endpoint import completion, endpoint, last_message
from tinsmith.model.passages import Passage, Source
from tinsmith.model.writer.endpoint import Endpoint
from tinsmith.model.writer.wordings import written_wordings

PASSAGES = [
    Passage("p1", "answer", "What does the copper kettle cost?", "The copper kettle costs 1,500 kr.", Source("a", "")),
    Passage("p2", "answer", "Where do you ship tea?", "We ship tea to Jakarta within 3 days.", Source("a", "")),
    Passage("p3", "answer", "May dogs come in?", "Dogs may come in on a lead.", Source("a", "")),
]
REPLIES = {
    "copper": (
        "1. How dear is the shiny one?\n2) price metal pot\n- Is it really 1,500 kr?\n"
        "What does the copper kettle cost?\n\n* I want to boil water. What would I pay?\nmore?\nand more?"
    ),
    "Jakarta": "<think>hm</think>\nDo parcels reach Indonesia?\nHow dear is the SHINY one?",
    "Dogs": "",
}


def test_list_markers_titles_figures_and_repetitions_are_removed():
    def reply(body, number):
        return 200, completion(next(text for word, text in REPLIES.items() if word in last_message(body))), {}

    with endpoint(reply) as server:
        written = written_wordings(PASSAGES, 3, Endpoint(server.address, "m"))
    assert [(one.id, one.question) for one in written.wordings] == [
        ("p1", "How dear is the shiny one?"),
        ("p1", "price metal pot"),
        ("p1", "I want to boil water. What would I pay?"),
        ("p2", "Do parcels reach Indonesia?"),
    ]
    assert {one.origin for one in written.wordings} == {"endpoint"} and {one.kind for one in written.wordings} == {
        "known"
    }
    assert written.dropped == {
        "states a figure of the answer": 1,
        "repeats the title": 1,
        "one too many": 2,
        "repeats another one": 1,
    }
    assert written.bare_passages == 1 and len(server.requests) == 3
    assert all("Write 3 different ways" in last_message(body) for body in server.requests)

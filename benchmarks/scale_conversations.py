"""Made-up conversations of any number for `data_scale.py`: the same bytes for the same arguments, on every machine.

A conversation has 3 kB in two to four turns. `templated` questions fill a few sentences with names and numbers, as
records from a shop's database do, so almost all resemble others. `random` questions share nothing but their words. A
few records are copies of earlier ones, and a few have what real data has: hidden characters, control tokens, an empty
answer, no answer at all.
"""

import itertools
import json
import random
from collections.abc import Iterator
from pathlib import Path

KINDS = ("templated", "random")
FILES = 8
COPIES, UNUSABLE, REPAIRABLE = 0.02, 0.03, 0.03
"""Shares of records that copy an earlier one of their file, that cannot be used, and that have to be repaired."""
_CATEGORIES = ("orders", "returns", "delivery", "care", "prices", "opening hours", "gift cards", "repairs")
_STEMS = (
    "account answer balance blanket bottle branch bread bridge button candle carpet charge circle clean close cloth "
    "coat collect colour comfort copper corner cotton counter country cover cross curtain custom deliver design "
    "detail doctor dress drink enter event expect factor farm feather field finish flower fold forest form frame "
    "garden glass guard guest handle harbour heat help honey island jacket kettle kitchen label ladder lamp leather "
    "letter light list load market mark match measure mend metal mirror modern morning note number office order "
    "orchard paint paper parcel part pattern pay pepper place plant plate pocket point polish port post pour "
    "present press print produce proof purple quality question rack rain reach record refund remain rent repair "
    "report rest return river roof room sail sample season seat second select send serve shape shelf shell ship "
    "shirt shop sign silver sleeve soap stamp start station steel stone store street summer supply table tailor "
    "taste teach thread ticket timber towel track train travel treat trust turn value velvet visit wait walk wash "
    "water weather weight window winter wonder wool work"
).split()
_ENDINGS = ("", "s", "ed", "ing", "er", "ers")
_SMALL = "the a of to and in for with on at from by is are was it we you our your can will not this that or".split()
WORDS = (*_SMALL * 12, *("".join(pair) for pair in itertools.product(_STEMS, _ENDINGS)))
_NAMES = ("Amber", "Birch", "Cedar", "Dune", "Ember", "Fjord", "Grove", "Heath", "Iris", "Juniper", "Krill", "Larch")
_TEMPLATES = (
    "What does the {name} {thing} in size {number} cost?",
    "When does order {number} with the {name} {thing} arrive?",
    "Can I return the {name} {thing} that I bought {number} days ago?",
    "How do I wash a {name} {thing} of {number} grams?",
    "Is the {name} {thing} number {number} in stock in {place}?",
    "Hello, I would like to know when the parcel with my order number {number} is going to reach my home in {place}?",
    "Could you please tell me what the {name} {thing} with the article number {number} costs, and if it is in stock?",
    "I bought a {name} {thing} {number} days ago and have not used it so far. May I still return it to your shop?",
    "My {name} {thing} came with a scratch on one side, and my order number is {number}. How do I get a new one?",
    "Which of your shops near {place} has the {thing} with the number {number} on its label, and when is it open?",
)
"""The longer ones differ from each other in a few letters only, so near-duplicates are found in thousands."""
_TURNS = ((2, 420), (3, 280), (4, 210))
"""Turns of a conversation, and characters of each answer."""


def write_conversations(folder: Path, count: int, kind: str, seed: int) -> None:
    """Write `count` records to `FILES` JSONL files in `folder`; the last one is in ShareGPT's form."""
    folder.mkdir(parents=True, exist_ok=True)
    bounds = [count * number // FILES for number in range(FILES + 1)]
    for number, (first, end) in enumerate(itertools.pairwise(bounds)):
        form = _sharegpt if number == FILES - 1 else _messages
        with (folder / f"part-{number}.jsonl").open("w", encoding="utf-8", newline="\n") as file:
            for record in _records(random.Random(f"{seed} {kind} {number}"), first, end, kind):
                file.write(json.dumps(form(record), ensure_ascii=False) + "\n")


def _records(rng: random.Random, first: int, end: int, kind: str) -> Iterator[dict]:
    written: list[dict] = []
    for number in range(first, end):
        if written and rng.random() < COPIES:
            yield rng.choice(written) | {"id": f"r{number}"}
            continue
        record = _record(rng, number, kind)
        if len(written) < 500:
            written.append(record)
        yield _soiled(rng, record)


def _record(rng: random.Random, number: int, kind: str) -> dict:
    turns, words = rng.choice(_TURNS)
    messages = [{"role": "system", "content": "You answer the customers of a shop in three sentences."}]
    for turn in range(turns):
        is_template = kind == "templated" and not turn
        question = _template(rng, number) if is_template else f"{_prose(rng, rng.randint(8, 16))}?"
        messages += [
            {"role": "user", "content": question},
            {"role": "assistant", "content": _answer(rng, words // 2)},
        ]
    return {"id": f"r{number}", "category": rng.choice(_CATEGORIES), "messages": messages}


def _template(rng: random.Random, number: int) -> str:
    thing, place = rng.choice(_STEMS), rng.choice(_STEMS).title()
    return rng.choice(_TEMPLATES).format(name=rng.choice(_NAMES), thing=thing, place=place, number=number % 50_000)


def _answer(rng: random.Random, words: int) -> str:
    sentences = [_prose(rng, size) for size in (words // 3, words // 3, words - 2 * (words // 3))]
    return f"{sentences[0]}. It costs {rng.randint(2, 900)} euros. {sentences[1]}. {sentences[2]}."


def _prose(rng: random.Random, words: int) -> str:
    return " ".join(rng.choices(WORDS, k=words)).capitalize()


def _soiled(rng: random.Random, record: dict) -> dict:
    """The record, a few times with something in it that has to be repaired, or that makes it unusable."""
    draw = rng.random()
    if draw >= UNUSABLE + REPAIRABLE:
        return record
    system, question, answer, *rest = record["messages"]
    if draw < UNUSABLE:
        broken = rng.choice(([system, question], [system, question, answer | {"content": " "}], [system, answer]))
        return record | {"messages": broken}
    text = rng.choice((f"\u200b{answer['content']}", f"{answer['content']}<|im_end|>", f"{answer['content']} \r\n"))
    return record | {"messages": [system, question, answer | {"content": text}, *rest]}


def _messages(record: dict) -> dict:
    return record


def _sharegpt(record: dict) -> dict:
    names = {"system": "system", "user": "human", "assistant": "gpt"}
    turns = [{"from": names[message["role"]], "value": message["content"]} for message in record["messages"]]
    return {"id": record["id"], "category": record["category"], "conversations": turns}

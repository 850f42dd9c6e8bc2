"""A data report made by hand, with something in every section."""

from tinsmith.data.not_used import UNUSED_FIELDS


def change(what, reason, count, detail="", file="a.jsonl", position="line 3"):
    example = {"file": file, "position": position, "detail": detail}
    return {"what": what, "reason": reason, "count": count, "examples": [example]}


def side(question, statement, *values):
    return {"file": "a.jsonl", "position": "line 1", "question": question, "statement": statement, "values": values}


def empty_report(used=1000):
    """A report that nothing is wrong with."""
    return {
        "data": "chats",
        "system_prompt": "",
        "categories": [{"name": "tea", "count": used, "share": 1.0}],
        "splits": {"train": used - 200, "val": 100, "test": 100},
        "steps": [{"name": "read", "before": used, "after": used, "note": "from 1 file(s)"}],
        "changes": [],
        "records": dict.fromkeys(("dropped", "duplicate", "cut", "repaired", "masked", "flagged"), 0),
        "contradictions": [],
        "near_duplicates": {"conversations": 0, "clusters": 0, "examples": []},
        "repeated_questions": {"questions": 0, "conversations": 0, "example": ""},
        "languages": {"counts": {"en": used - 10, "": 10}, "usual": "en"},
        "form": {"markdown": 10, "emoji": 0, "blocks": 0, "long_blocks": 0, "several_turns": 0},
        "spellings": [],
        "unused": [],
        "notes": [],
        "files": {"a.jsonl": "0" * 64},
        "lengths": {"unit": "characters", "bins": [{"low": 0, "high": 100, "count": used}]},
        "language": "en",
        "source": "",
        "license": "",
    }


def full_report(text="plain"):
    """A report with something in every section; `text` is everywhere that the data can put a text."""
    report = empty_report()
    member = {"file": text, "position": "line 1", "question": text}
    return report | {
        "data": text,
        "system_prompt": text,
        "categories": [{"name": text, "count": 997, "share": 0.997}, {"name": "few", "count": 3, "share": 0.003}],
        "steps": [{"name": "read", "before": 1100, "after": 1100, "note": text}],
        "changes": [
            change("dropped", f"message is empty {text}", 40, text, text, text),
            change("duplicate", "same messages as an earlier conversation", 60, text, text, text),
            change("cut", "cut to data.max_tokens", 2, text, text, text),
            change("masked", "e-mail address", 3, text, text, text),
            change("repaired", "hidden characters removed", 4, text, text, text),
            change("flagged", "HTML in the text", 5, text, text, text),
            change("flagged", "answer ends with a sentence that many answers share", 300, text, text, text),
            change("flagged", "answer seems cut off", 1, text, text, text),
            change("flagged", "answer has no content", 2, text, text, text),
            change("flagged", "answer repeats its question", 2, text, text, text),
        ],
        "records": {"dropped": 40, "duplicate": 60, "cut": 2, "repaired": 4, "masked": 3, "flagged": 308},
        "contradictions": [{"first": side(text, f"{text} 5,000 SEK", "5000 SEK"), "second": side(text, "No.", "no")}],
        "near_duplicates": {"conversations": 400, "clusters": 9, "examples": [{"size": 99, "members": [member] * 2}]},
        "repeated_questions": {"questions": 2, "conversations": 4, "example": text},
        "languages": {"counts": {"en": 600, "sv": 390, "": 10}, "usual": "en"},
        "form": {"markdown": 10, "emoji": 1, "blocks": 900, "long_blocks": 400, "several_turns": 5},
        "spellings": [{"forms": [{"text": text, "count": 9, "file": text, "position": "line 1"}] * 2}],
        "unused": [
            {"name": f"{text}: context", "reason": UNUSED_FIELDS, "count": 9},
            {"name": text, "reason": text, "count": 1},
        ],
        "notes": [text],
        "files": {text: "0" * 64},
    }


def plural_report():
    """A report with more than one of everything that is counted, and advice of every kind."""
    flagged = [
        ("answer has no content", 2000),
        ("garbled characters: the text was read in a wrong encoding", 30),
        ("JSON at the end of an answer cannot be read", 20),
        ("placeholder that was never filled in", 10),
        ("answer is far longer than the others", 9),
        ("answer ends without a full stop, unlike most", 1500),
        ("IBAN", 6),
        ("phone number", 1),
    ]
    proposal = "its keys: 'x'. Say which fields are which, in [data]: fields = { question = \"x\" }"
    pair = {"first": side("Price?", "It is 5 or 6.", "5", "6"), "second": side("Cost?", "It is 7.", "7")}
    forms = [{"text": text, "count": 1200, "file": "a.jsonl", "position": "line 7"} for text in ("Kvarn", "Quarn")]
    members = [{"file": "a.jsonl", "position": f"line {n}", "question": f"Price {n}?"} for n in (1, 2)]
    return empty_report(150) | {
        "splits": {"train": 120, "val": 15, "test": 15},
        "categories": [{"name": "tea", "count": 140, "share": 0.93}]
        + [{"name": f"small {n}", "count": n, "share": n / 150} for n in (4, 3, 2, 1)]
        + [{"name": "five", "count": 5, "share": 0.03}],
        "steps": [
            {"name": "read", "before": 3000, "after": 1400, "note": "from 2 file(s)"},
            {"name": "valid", "before": 1400, "after": 1300, "note": ""},
            {"name": "privacy", "before": 1300, "after": 1300, "note": ""},
            {"name": "system_prompt", "before": 1300, "after": 1300, "note": ""},
            {"name": "length", "before": 1300, "after": 1300, "note": ""},
            {"name": "duplicates", "before": 1300, "after": 150, "note": "151 left"},
        ],
        "changes": [
            change("dropped", "message is empty", 1, "message 2"),
            change("dropped", "no conversation in it", 1599, proposal, "b.jsonl", "line 2"),
            change("repaired", "hidden characters removed", 4, "U+200B"),
            change("repaired", "Unicode normalised to NFC", 40),
            change("cut", "cut to data.max_tokens", 1),
            *(change("flagged", reason, count, "the text", "c.jsonl", f"line {count}") for reason, count in flagged),
        ],
        "records": {"dropped": 1600, "duplicate": 151, "cut": 1, "repaired": 40, "masked": 0, "flagged": 3500},
        "contradictions": [pair, pair],
        "near_duplicates": {"conversations": 31, "clusters": 1, "examples": [{"size": 2, "members": members}]},
        "repeated_questions": {"questions": 1, "conversations": 2, "example": "Price?"},
        "languages": {"counts": {"en": 70, "sv": 40, "xx": 30, "de": 10, "": 0}, "usual": ""},
        "form": {"markdown": 0, "emoji": 3, "blocks": 100, "long_blocks": 94, "several_turns": 0},
        "spellings": [{"forms": forms}, {"forms": forms}],
        "unused": [
            {"name": "a.jsonl: context", "reason": UNUSED_FIELDS, "count": 9},
            {"name": "b.jsonl: context", "reason": UNUSED_FIELDS, "count": 1},
            {"name": "a.jsonl: System", "reason": UNUSED_FIELDS, "count": 1},
            {"name": "a.jsonl: rejected", "reason": UNUSED_FIELDS, "count": 8},
            *({"name": f"a.jsonl: field {n}", "reason": UNUSED_FIELDS, "count": 1} for n in range(22)),
            {"name": "a.json: about", "reason": "fields around the records", "count": 1},
            {"name": "photo.jpeg", "reason": "no data files by their ending", "count": 1},
        ],
        "notes": ["a.csv: in UTF-16", "b.csv: read as a workbook"],
        "files": {"a.jsonl": "0" * 64, "b.jsonl": "1" * 64},
        "lengths": {
            "unit": "tokens",
            "bins": [{"low": 0, "high": 100, "count": 100}, {"low": 1000, "high": 2000, "count": 50}],
        },
    }

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

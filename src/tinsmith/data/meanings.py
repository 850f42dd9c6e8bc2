"""What each flag of `features.py` and `style.py` means for the owner of the data, and what to do about it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a flag means for its owner."""

    clause: str
    """What is so, after `in 3 conversations`."""
    action: str


MEANINGS = {
    "garbled characters: the text was read in a wrong encoding": Meaning(
        "characters are garbled, because the text was read in a wrong encoding",
        "Export the file again as UTF-8, or correct the text.",
    ),
    "JSON at the end of an answer cannot be read": Meaning(
        "the JSON at the end of an answer cannot be read",
        "Correct the JSON, or the model learns to write broken JSON.",
    ),
    "placeholder that was never filled in": Meaning(
        "a placeholder was never filled in", "Fill it in, or the model writes it to visitors."
    ),
    "reasoning of a language model in an answer": Meaning(
        "an answer has the reasoning of a language model in it", "Keep only the answer itself."
    ),
    "answer speaks as a language model": Meaning(
        "the answer speaks as a language model", "Write the answer as your own staff would give it."
    ),
    "answer seems cut off": Meaning(
        "the answer seems cut off", "Complete it, or the model learns to stop in the middle."
    ),
    "answer has no content": Meaning("the answer has no content", "Write the answer, or delete the conversation."),
    "answer lacks the closing block of JSON that most answers have": Meaning(
        "an answer lacks the closing block of JSON that most answers have", "Add the block."
    ),
    "closing block of JSON has other keys than most": Meaning(
        "the closing block of JSON has other keys than most", "Use the same keys everywhere."
    ),
    "HTML in the text": Meaning("there is HTML in the text", "Remove the tags, or visitors read them."),
    "citation marks of a chat tool": Meaning(
        "there are citation marks of a chat tool", "Remove the marks: they point to nothing."
    ),
    "text of a special token, read as plain text": Meaning(
        "the text spells a special token of some models",
        "Remove it if a program left it there; it is read as plain text.",
    ),
    "language is not data.language": Meaning(
        "the language is not data.language", "Move them to data of their own, or correct data.language."
    ),
    "language differs from that of most conversations": Meaning(
        "the language differs from that of the others", "Move them to data of their own, or translate them."
    ),
    "answer repeats its question": Meaning(
        "the answer repeats its question", "Begin with the answer, or the model learns to repeat questions."
    ),
    "answer is word for word that of many other questions": Meaning(
        "the answer is word for word that of many other questions", "Keep it where it really answers the question."
    ),
    "answer begins with a sentence that many answers share": Meaning(
        "the answer begins with a sentence that many share", "Delete the sentence where it says nothing."
    ),
    "answer ends with a sentence that many answers share": Meaning(
        "the answer ends with a sentence that many share", "Delete the sentence where it says nothing."
    ),
    "answer is far longer than the others": Meaning(
        "an answer is far longer than the others", "Shorten it, or split the conversation."
    ),
    "answer is far shorter than the others": Meaning(
        "an answer is far shorter than the others", "Complete it if something is missing."
    ),
    "answer ends without a full stop, unlike most": Meaning(
        "the answer ends without a full stop, unlike most", "Complete it if something is missing."
    ),
}
"""Reason of a flag -> its meaning, the most harmful first."""
SHARED_TEXTS = frozenset(reason for reason in MEANINGS if " many " in reason)
"""Reasons whose detail is the text itself."""

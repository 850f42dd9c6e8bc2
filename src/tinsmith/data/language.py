"""The language of a text, told by letter sequences (py3langid, 139 languages; its model is part of the package)."""

from functools import lru_cache

from py3langid.langid import MODEL_FILE, LanguageIdentifier

FEWEST_LETTERS = 60
"""Shorter texts are too often taken for another language."""
_SURE = 0.95
"""Least probability at which a language is named."""
_SAME = {
    "nb": "no", "nn": "no", "da": "no", "ms": "id", "jv": "id", "su": "id", "pcm": "en", "sco": "en", "hr": "sr",
    "bs": "sr", "sh": "sr", "gl": "pt", "af": "nl", "ast": "es", "an": "es", "oc": "ca", "lb": "de", "nds": "de",
    "wuu": "zh", "yue": "zh", "rn": "rw", "ur": "hi", "mai": "hi", "bho": "hi", "be": "ru", "bg": "mk", "cs": "sk",
}  # fmt: skip
"""Languages that short texts do not tell from a relative. They count as one."""


def language_of(text: str) -> str:
    """ISO 639-1 code, or empty where the text is too short or the language uncertain."""
    if sum(map(str.isalpha, text)) < FEWEST_LETTERS and not _is_dense(text):
        return ""
    code, probability = _identifier().classify(text)
    return code if probability >= _SURE else ""


def same_language(one: str, other: str) -> bool:
    """Whether two codes name one language, or two that short texts do not tell apart."""
    return _SAME.get(one, one) == _SAME.get(other, other)


def _is_dense(text: str) -> bool:
    """Whether most characters are ideographs, kana or Hangul, which say more per character."""
    dense = sum("\u3040" <= character <= "\u9fff" or "\uac00" <= character <= "\ud7a3" for character in text)
    return dense >= FEWEST_LETTERS // 4 and 2 * dense > len(text)


@lru_cache(maxsize=1)
def _identifier() -> LanguageIdentifier:
    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)

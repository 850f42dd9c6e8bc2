"""The language of a text, told by letter sequences (py3langid, 139 languages; its model is part of the package)."""

from functools import lru_cache

import numpy as np
from py3langid.langid import MODEL_FILE, LanguageIdentifier

FEWEST_LETTERS = 60
"""Shorter texts are too often taken for another language."""
_SURE = 0.95
"""Least probability at which a language is named."""
_NAMES = (
    "ar Arabic,bn Bengali,cs Czech,da Danish,de German,el Greek,en English,es Spanish,fa Persian,fi Finnish,fr French,"
    "he Hebrew,hi Hindi,hu Hungarian,id Indonesian,it Italian,ja Japanese,ko Korean,nb Norwegian,nl Dutch,no Norwegian,"
    "pl Polish,pt Portuguese,ro Romanian,ru Russian,sv Swedish,th Thai,tr Turkish,uk Ukrainian,vi Vietnamese,zh Chinese"
)
NAMES = {pair[:2]: pair[3:] for pair in _NAMES.split(",")}
"""English names of frequent languages."""
_RELATIVES = (
    "no nb nn da,id ms jv su,en pcm sco,sr hr bs sh,pt gl,nl af,es ast an,ca oc,de lb nds,zh wuu yue,rw rn,"
    "hi ur mai bho,ru be,mk bg,sk cs"
).split(",")
"""Languages that short texts do not tell from each other."""
_FIRST_RELATIVE = {code: relatives.split()[0] for relatives in _RELATIVES for code in relatives.split()}


def language_of(text: str) -> str:
    """ISO 639-1 code, or empty where the text is too short or the language uncertain."""
    has_letters = sum(map(str.isalpha, text[: 2 * FEWEST_LETTERS])) >= FEWEST_LETTERS
    if not has_letters and sum(map(str.isalpha, text)) < FEWEST_LETTERS and not _is_dense(text):
        return ""
    code, probability = _identifier().classify(text)
    return code if probability >= _SURE else ""


def same_language(one: str, other: str) -> bool:
    """Whether two codes name one language, or two that short texts do not tell apart."""
    return _FIRST_RELATIVE.get(one, one) == _FIRST_RELATIVE.get(other, other)


def _is_dense(text: str) -> bool:
    """Whether most characters are ideographs, kana or Hangul, which say more per character."""
    dense = sum("\u3040" <= character <= "\u9fff" or "\uac00" <= character <= "\ud7a3" for character in text)
    return dense >= FEWEST_LETTERS // 4 and 2 * dense > len(text)


@lru_cache(maxsize=1)
def _identifier() -> LanguageIdentifier:
    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    # The stored half precision is converted for every text, which takes longer than the rest. Scores stay the same.
    identifier.nb_ptc = identifier.nb_ptc.astype(np.float32)
    return identifier

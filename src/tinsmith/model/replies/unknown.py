"""Tell a reply that admits not to know."""

import re

_I = r"\b(?:i|we)"
_ADMISSIONS = (
    # English
    rf"{_I} (?:really |also )?(?:do not|don't|did not|didn't) (?:really |actually |currently )?know\b",
    rf"{_I} (?:do not|don't) (?:really |actually |currently )?have (?:any |the |that |this |enough |specific |more )*"
    r"(?:information|details|data|answer|knowledge)\b",
    rf"{_I}(?:'m| am|'re| are) (?:not|un)(?: entirely| really| quite)? ?(?:sure|certain|aware)\b",
    rf"{_I}(?:'m| am|'re| are) (?:not able|unable) to (?:answer|help|tell|say|provide|find)\b",
    rf"{_I} (?:cannot|can't|can not|could not|couldn't) (?:answer|help|tell|say|provide|find)\b",
    rf"{_I} can only (?:answer|help|talk)\b",
    r"\b(?:outside|beyond) (?:of )?(?:my|our) (?:scope|knowledge|expertise|area)\b",
    # Swedish, Norwegian, Danish
    r"\b(?:jag|vi|jeg) (?:vet|ved) (?:tyvärr |dessverre |desværre )?(?:inte|ikke|ej)\b",
    r"\bdet vet (?:jag|vi) (?:inte|ej)\b|\bdet (?:vet|ved) (?:jeg|vi) ikke\b",
    r"\b(?:jag|vi|jeg) kan (?:tyvärr |dessverre |desværre )?(?:inte|ikke) (?:svar|hj[äæe]lp|s[äi]g?[ae]?)",
    r"\b(?:jag|vi|jeg) (?:saknar|mangler|har (?:ingen|inga|inte|ikke)) (?:information|uppgift|kunskap|oplysninger)",
    r"\b(?:jag|vi|jeg) (?:är|er) (?:inte|ikke) (?:säker|sikker)",
    # German, Dutch
    r"\b(?:ich|wir|ik) (?:weiß|weiss|wissen|weet) (?:das |es |dat |het )?(?:leider |helaas )?(?:nicht|niet)\b",
    r"\bdas (?:weiß|weiss|wissen) (?:ich|wir) (?:leider )?nicht\b|\bdat weet ik (?:helaas )?niet\b",
    r"\bich kann (?:das |dazu |diese frage |ihnen )*(?:leider )?(?:nicht|nichts) (?:beantworten|sagen|helfen)\b",
    r"\b(?:ich|wir) haben? (?:dazu |darüber |leider )*keine (?:informationen|angaben|ahnung)\b",
    # French, Spanish, Indonesian
    r"\bje ne (?:le )?(?:sais|connais|peux|dispose) (?:malheureusement )?pas\b|\bje n'ai pas (?:cette |d')",
    r"\bno (?:lo )?(?:sé|sabemos)\b|\bno (?:tengo (?:esa |la )?información|puedo (?:responder|ayudar))\b",
    r"\b(?:saya|kami) (?:tidak|belum) (?:tahu|mengetahui|bisa menjawab|memiliki informasi|punya informasi)\b",
)
_ADMISSION = re.compile("|".join(_ADMISSIONS), re.IGNORECASE)


def admits_not_knowing(reply: str) -> bool:
    """Whether a reply says, in some common form of words, that it has no answer to the question.

    It knows English, Swedish, Norwegian, Danish, German, Dutch, French, Spanish and Indonesian.
    """
    return _ADMISSION.search(reply.replace("\u2019", "'")) is not None

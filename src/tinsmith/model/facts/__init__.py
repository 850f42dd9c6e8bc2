"""Facts of reference answers, bound to what was asked about, and whether a reply states them.

A fact is a value (quantity, price, date, time, phone number), a name, an address, a yes or no, or a few words. The
reference gives its slot: the words around it, the question's words, and its side in contrasts such as opening and
closing. A reply states a fact if one of its places states the value in that slot, neither denied nor bounded otherwise,
and no place of the slot states another value.

English and Swedish have tables of number words, units, bounds, denials and contrasts (`lexicon.toml`), and German a
few rows. In other languages, digits with international units and currencies, ISO dates, times such as 17:00, phone
numbers, names and addresses are still matched, and bound by the words around them. Spelled-out numbers, denials, bounds
and yes or no are not understood there: a denied value counts as stated, and a spelled-out one is missing.
"""

from tinsmith.model.facts.controls import (
    CONTROLS,
    MAX_CONTROL_RECALL,
    ControlReply,
    control_recalls,
    control_replies,
)
from tinsmith.model.facts.fact import Fact, Verdict
from tinsmith.model.facts.judge import judge_facts, states_reference, wrong_numbers
from tinsmith.model.facts.names import common_words
from tinsmith.model.facts.propose import facts_of
from tinsmith.model.facts.values import Value

__all__ = [
    "CONTROLS",
    "MAX_CONTROL_RECALL",
    "ControlReply",
    "Fact",
    "Value",
    "Verdict",
    "common_words",
    "control_recalls",
    "control_replies",
    "facts_of",
    "judge_facts",
    "states_reference",
    "wrong_numbers",
]

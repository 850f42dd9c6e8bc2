"""What all conversations together show: languages, forms, names, repeated questions, and clusters of questions."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from tinsmith.data.features import FEATURES, quoted
from tinsmith.data.spellings import SAMPLE, Spelling, find_spellings
from tinsmith.data.store import Store
from tinsmith.data.style import Languages, RepeatedQuestions, form_of, languages_of, repeated_questions, style_flags
from tinsmith.model.conversations import Conversation

_CLUSTERS_SHOWN = 5
_MEMBERS_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Member:
    """A conversation of a cluster."""

    file: str
    position: str
    question: str
    """The first question, cut to a readable length."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """Conversations with nearly the same first question."""

    size: int
    members: tuple[Member, ...]
    """The first ones."""


@dataclass(frozen=True, slots=True)
class NearDuplicates:
    """Clusters of at least two conversations."""

    conversations: int = 0
    clusters: int = 0
    examples: tuple[Cluster, ...] = ()
    """The largest clusters."""


@dataclass(frozen=True, slots=True)
class Survey:
    """Counts over all conversations that are used."""

    languages: Languages = field(default_factory=Languages)
    form: dict[str, int] = field(default_factory=dict)
    """Conversations by the form of their answers; see `style.form_of`."""
    spellings: tuple[Spelling, ...] = ()
    repeated_questions: RepeatedQuestions = field(default_factory=RepeatedQuestions)
    near_duplicates: NearDuplicates = field(default_factory=NearDuplicates)


def survey(
    store: Store, rows: np.ndarray, labels: np.ndarray, language: str, flag: Callable[[int, str, str], None]
) -> Survey:
    """Compare the rows of a store.

    Args:
        store: Holds the columns of `FEATURES`.
        rows: Rows that are used.
        labels: Cluster of each of `rows`.
        language: `data.language`, or empty.
        flag: Gets row, reason and detail of every conversation that differs from the rest.
    """

    def conversation(index: int) -> Conversation:
        return store.conversation(int(rows[index]))

    codes = store.texts("language").take(rows).to_pylist()
    columns = {name: store.numbers(name)[rows] for name in FEATURES if name != "language"}
    for one in style_flags(columns, codes, language, conversation):
        flag(int(rows[one.index]), one.reason, one.detail)
    languages = languages_of(codes, language)
    sample = _sample(store, rows)
    return Survey(
        languages,
        form_of(columns),
        find_spellings(lambda: map(store.conversation, sample), languages.usual),
        repeated_questions(columns, conversation),
        near_duplicates(labels, conversation),
    )


def near_duplicates(labels: np.ndarray, conversation: Callable[[int], Conversation]) -> NearDuplicates:
    """Count clusters, and quote the largest ones.

    Args:
        labels: Cluster of each conversation.
        conversation: Reads the conversation at a place of `labels`.
    """
    _, inverse, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    members = np.argsort(inverse, kind="stable")
    starts = np.cumsum(sizes) - sizes
    largest = [number for number in np.argsort(-sizes, kind="stable")[:_CLUSTERS_SHOWN].tolist() if sizes[number] > 1]
    examples = tuple(
        Cluster(int(sizes[number]), tuple(_member(conversation(index)) for index in shown.tolist()))
        for number in largest
        for shown in [members[starts[number] :][: min(sizes[number], _MEMBERS_SHOWN)]]
    )
    return NearDuplicates(int(sizes[sizes > 1].sum()), int((sizes > 1).sum()), examples)


def _member(conversation: Conversation) -> Member:
    question = next(message.content for message in conversation.messages if message.role == "user")
    return Member(conversation.source["file"], conversation.source["position"], quoted(question))


def _sample(store: Store, rows: np.ndarray) -> list[int]:
    """Some rows in the order of the data, the same ones whatever the order of files."""
    keys = np.ascontiguousarray(store.hashes("content")[rows][:, :8]).view(np.uint64).ravel()
    return rows[np.sort(np.argsort(keys, kind="stable")[:SAMPLE])].tolist()

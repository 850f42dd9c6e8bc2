"""An exact search for near-duplicates, to compare the fast one with. Its time grows with the square of the questions.

Source: prefix filtering after Bayardo, Ma and Srikant, "Scaling Up All Pairs Similarity Search" (2007).
"""

from collections import Counter, defaultdict

from tinsmith.data.duplicates import NEAR_DUPLICATE_TENTHS, SHINGLE_CHARACTERS, normalised


def exact_clusters(questions):
    """For each question, the first one of its connected component."""
    texts = [normalised(question) for question in questions]
    parents = list(range(len(texts)))
    first = {}
    for index, text in enumerate(texts):
        join(parents, index, first.setdefault(text, index))
    join_similar(parents, {index: shingles(text) for text, index in first.items()})
    return [root(parents, index) for index in range(len(texts))]


def shingles(text):
    size = SHINGLE_CHARACTERS
    return frozenset(text[start : start + size] for start in range(max(1, len(text) - size + 1)))


def jaccard_tenths(one, other):
    """Whether two sets are similar enough, by whole numbers."""
    shared = len(one & other)
    return 10 * shared >= NEAR_DUPLICATE_TENTHS * (len(one) + len(other) - shared)


def join_similar(parents, sets):
    frequency = Counter(shingle for members in sets.values() for shingle in members)
    by_prefix = defaultdict(list)
    for index, members in sorted(sets.items(), key=lambda item: (len(item[1]), item[0])):
        ordered = sorted(members, key=lambda shingle: (frequency[shingle], shingle))
        needed = -(-NEAR_DUPLICATE_TENTHS * len(members) // 10)
        seen = set()
        for shingle in ordered[: len(members) - needed + 1]:
            for other in by_prefix[shingle]:
                if other not in seen:
                    seen.add(other)
                    if root(parents, other) != root(parents, index) and jaccard_tenths(members, sets[other]):
                        join(parents, index, other)
            by_prefix[shingle].append(index)


def root(parents, index):
    while parents[index] != index:
        parents[index] = parents[parents[index]]
        index = parents[index]
    return index


def join(parents, a, b):
    low, high = sorted((root(parents, a), root(parents, b)))
    parents[high] = low


def pairs_together(labels):
    """How many pairs of questions are in one cluster."""
    return sum(count * (count - 1) // 2 for count in Counter(labels).values())

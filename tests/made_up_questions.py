"""Made-up questions for tests and benchmarks: of a few templates, of one template, and of random words."""

import random

TEMPLATES = (
    "What does a {part} repair in {town} cost?",
    "When does the shop in {town} open on {part}?",
    "How long does it take to get a {part} delivered to {town}?",
    "Do you sell a {part} in your {town} store and what is the price of it today?",
    "I bought order number {number} from {town} and it has not arrived yet, what can I do?",
    "Please summarize document {number}",
)


def words(chance, count):
    return ["".join(chance.choices("abcdefghijklmnopqrstuvwxyz", k=chance.randint(3, 8))) for _ in range(count)]


def templated(count, seed=0, templates=TEMPLATES):
    """Most pairs of one template lie just below or above the threshold, in buckets that grow with `count`."""
    chance = random.Random(seed)
    towns = [word.title() for word in words(chance, max(50, count // 20))]
    parts = words(chance, max(50, count // 50))
    return [
        chance.choice(templates).format(
            town=chance.choice(towns), part=chance.choice(parts), number=chance.randint(1, 10 * count)
        )
        for _ in range(count)
    ]


def one_template(count, seed=0):
    """Questions of one template, nearly all pairs just below the threshold."""
    return templated(count, seed, TEMPLATES[:1])


def random_words(count, seed=0):
    chance = random.Random(seed)
    vocabulary = words(chance, 5000)
    return [" ".join(chance.choices(vocabulary, k=12)) for _ in range(count)]

"""Several wordings of the question that each passage answers, for training on more than one."""

from collections.abc import Sequence

from tinsmith.model.answers.rules import wordings_by_rules
from tinsmith.model.answers.statements import normalized
from tinsmith.model.passages import Passage
from tinsmith.model.writer.checks import Checks, cleaned
from tinsmith.model.writer.draft import QUESTION_TOKENS
from tinsmith.model.writer.prompts import known_prompt
from tinsmith.model.writer.writer import Writer

_TEMPERATURE = 0.7


def wordings(passages: Sequence[Passage], per_passage: int, writer: Writer | None, seed: int) -> dict[str, list[str]]:
    """Passage id -> up to `per_passage` different wordings of its question, none of them its title.

    Every passage has a list, which is shorter where rules know no more or checks dropped some. No second look by the
    writer confirms that the passage answers a wording, as there is for questions that measure.

    Args:
        passages: The owner's.
        per_passage: Most wordings of each.
        writer: Writes them, each in a style of its own; None for rules, which know three at most.
        seed: Of a base model's sampling.

    Raises:
        EndpointError: an endpoint failed.
    """
    if writer is None:
        return {id: texts[:per_passage] for id, texts in wordings_by_rules(passages).items()}
    checks = Checks(passages)
    written: dict[str, dict[str, str]] = {passage.id: {} for passage in passages}
    for style in range(per_passage):
        prompts = [known_prompt(passage, style) for passage in passages]
        label = f"{writer.origin} writes wordings {style + 1} of {per_passage}"
        replies = writer.replies(prompts, QUESTION_TOKENS, label, _TEMPERATURE if style else 0.0, seed + style)
        for passage, reply in zip(passages, replies, strict=True):
            text = cleaned(reply)
            if not checks.problem(text, passage):
                written[passage.id].setdefault(normalized(text), text)
    return {id: list(texts.values()) for id, texts in written.items()}

"""The rules of all stages. Stages import their own module, so that a changed rule repeats that stage alone."""

from tinsmith.derive import base, bench, data, evaluate, export, judge, knowledge, merge, private, review, site, train
from tinsmith.derive.files import Files
from tinsmith.derive.rules import Derived, Rule

RULES: dict[str, tuple[Rule, ...]] = {
    "base": base.RULES,
    "data": data.RULES,
    "knowledge": knowledge.RULES,
    "train": train.RULES,
    "merge": merge.RULES,
    "export": (*export.RULES, *private.PACKAGE_RULES),
    "evaluate": (*evaluate.RULES, *private.REPLY_RULES),
    "review": review.RULES,
    "judge": judge.RULES,
    "bench": bench.RULES,
    "remote": bench.REMOTE_RULES,
    "card": (*site.CARD_RULES, *private.CARD_RULES),
    "app": (*site.APP_RULES, *private.SITE_RULES),
}
"""By stage."""


def derived(id: str, files: Files) -> Derived:
    """The number that the files give for an id.

    Raises:
        ArtifactError: no rule is for this id, or the files give no such number.
    """
    from tinsmith.core.errors import ArtifactError

    for rule in (rule for rules in RULES.values() for rule in rules):
        fields = rule.fields(id)
        if fields is not None and (value := rule.function(files, **fields)) is not None:
            return value
    raise ArtifactError(f"{id}: no raw file gives this number", "Ids are listed in docs/measurements.md.")

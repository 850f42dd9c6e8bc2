"""The fine-tuned model's licence: the author's, or the base model's, and their names in other systems."""

import re
from dataclasses import dataclass
from typing import Any

from tinsmith.card.facts import Facts

HUB_LICENSES = frozenset(
    """apache-2.0 mit openrail bigscience-openrail-m creativeml-openrail-m bigscience-bloom-rail-1.0 bigcode-openrail-m
    afl-3.0 artistic-2.0 bsl-1.0 bsd bsd-2-clause bsd-3-clause bsd-3-clause-clear c-uda cc cc0-1.0 cc-by-2.0 cc-by-2.5
    cc-by-3.0 cc-by-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cc-by-nc-2.0 cc-by-nc-3.0 cc-by-nc-4.0 cc-by-nd-4.0 cc-by-nc-nd-3.0
    cc-by-nc-nd-4.0 cc-by-nc-sa-2.0 cc-by-nc-sa-3.0 cc-by-nc-sa-4.0 cdla-sharing-1.0 cdla-permissive-1.0
    cdla-permissive-2.0 wtfpl ecl-2.0 epl-1.0 epl-2.0 etalab-2.0 eupl-1.1 agpl-3.0 gfdl gpl gpl-2.0 gpl-3.0 lgpl
    lgpl-2.1 lgpl-3.0 isc lppl-1.3c ms-pl mpl-2.0 odc-by odbl openrail++ osl-3.0 postgresql ofl-1.1 ncsa unlicense zlib
    pddl lgpl-lr deepfloyd-if-license llama2 llama3 llama3.1 llama3.2 llama3.3 llama4 gemma unknown""".split()
)
"""Licence identifiers that the Hub accepts. Source: https://huggingface.co/docs/hub/repositories-licenses"""

_SPDX_IDS = {
    id.lower(): id
    for id in """Apache-2.0 MIT AFL-3.0 Artistic-2.0 BSL-1.0 BSD-2-Clause BSD-3-Clause BSD-3-Clause-Clear CC0-1.0
    CC-BY-2.0 CC-BY-2.5 CC-BY-3.0 CC-BY-4.0 CC-BY-SA-3.0 CC-BY-SA-4.0 CC-BY-NC-2.0 CC-BY-NC-3.0 CC-BY-NC-4.0
    CC-BY-ND-4.0 CC-BY-NC-ND-3.0 CC-BY-NC-ND-4.0 CC-BY-NC-SA-2.0 CC-BY-NC-SA-3.0 CC-BY-NC-SA-4.0 CDLA-Sharing-1.0
    CDLA-Permissive-1.0 WTFPL ECL-2.0 EPL-1.0 EPL-2.0 etalab-2.0 EUPL-1.1 AGPL-3.0 GPL-2.0 GPL-3.0
    LGPL-2.1 LGPL-3.0 ISC LPPL-1.3c MS-PL MPL-2.0 OSL-3.0 PostgreSQL OFL-1.1 NCSA Unlicense Zlib
    AGPL-3.0-only AGPL-3.0-or-later GPL-2.0-only GPL-2.0-or-later GPL-3.0-only GPL-3.0-or-later LGPL-2.1-only
    LGPL-2.1-or-later LGPL-3.0-only LGPL-3.0-or-later""".split()
}
"""SPDX ids by their lowercase form, as far as the Citation File Format knows them. Source: https://spdx.org/licenses/"""

_BINDING = ("gemma", "llama")
"""Prefixes of licence ids whose terms bind every model made from theirs, whatever else its author states."""

_NOTICES = {
    "gemma": "Gemma is provided under and subject to the Gemma Terms of Use found at ai.google.dev/gemma/terms.",
    "llama": (
        "Built with Llama. Llama {version} is licensed under the Llama {version} Community License, "
        "Copyright © Meta Platforms, Inc. All Rights Reserved."
    ),
}
"""Notices that some licences require wherever the model is published. Keys are prefixes of licence ids."""


@dataclass(frozen=True, slots=True)
class License:
    """A licence under the name that its source gives it."""

    id: str
    link: str
    """Address or package file of its text; empty if unknown."""

    @property
    def spdx_id(self) -> str | None:
        """Its SPDX id, or None if it has none."""
        return spdx_id(self.id)


def spdx_id(license: str) -> str | None:
    """The SPDX id that is `license` in any case, or None."""
    return _SPDX_IDS.get(license.strip().lower())


def base_license(facts: Facts) -> License | None:
    """The base model's licence, or None if it is not recorded."""
    record = facts.raw("base", "base.json", "license") or {}
    link = record.get("link") or next(iter(record.get("files") or []), "")
    return License(record["id"], link) if record.get("id") else None


def model_license(facts: Facts) -> License | None:
    """The licence that the fine-tuned model is published under, or None if neither author nor base states one."""
    base = base_license(facts)
    if not facts.config.license or (base and _is_binding(base.id)):
        return base
    return License(facts.config.license, facts.config.license_link)


def _is_binding(id: str) -> bool:
    return id.lower().startswith(_BINDING)


def license_metadata(facts: Facts) -> dict[str, Any]:
    """The licence's keys for the Hub; none if it is unknown."""
    license = model_license(facts)
    if license is None:
        return {}
    if license.id.lower() in HUB_LICENSES:
        return {"license": license.id.lower()}
    name = re.sub(r"[^a-z0-9.]+", "-", license.id.lower()).strip("-")
    other = {"license": "other", "license_name": name}
    return {**other, "license_link": license.link} if license.link else other


def license_text(facts: Facts) -> str:
    """The card's words on the licence, with the notices that the base model's licence requires."""
    record = facts.raw("base", "base.json", "license") or {}
    author = facts.declared("license") if facts.config.license else ""
    if not record:
        return f"{author}." if author else facts.recorded("base", "base.json", "license.id")
    id = facts.recorded("base", "base.json", "license.id")
    name = facts.recorded("base", "base.json", "license.name") if record.get("name") else id
    base = f"{name} (`{id}`)"
    link = f": <{record['link']}>" if record.get("link") else "."
    if not author:
        text = f"{base}, inherited from the base model{link}"
    elif _is_binding(id):
        text = f"{base}, whose terms bind every model made from the base model{link}\n\n"
        text += f"The author states {author} for what they added."
    else:
        at = f": {facts.declared('license_link')}" if facts.config.license_link else ""
        text = f"{author}{at}.\n\nThe base model's licence is {base}{link}"
    if record.get("warning"):
        text += "\n\n" + facts.recorded("base", "base.json", "license.warning")
    for prefix, notice in _NOTICES.items():
        if id.lower().startswith(prefix):
            text += "\n\n" + notice.format(version=id[len(prefix) :].lstrip("-"))
    return text

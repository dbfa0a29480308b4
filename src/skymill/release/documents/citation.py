"""`CITATION.cff`: the Citation File Format, version 1.2.0."""

from __future__ import annotations

from typing import Any

from skymill.config.citation import ORCID_URL, Creator
from skymill.release.documents.facts import Facts

KNOWN_LICENCES = {
    *("CC0-1.0", "CC-BY-4.0", "CC-BY-SA-4.0", "CC-BY-NC-4.0", "CC-BY-NC-SA-4.0", "ODbL-1.0", "ODC-By-1.0", "PDDL-1.0"),
    *("Apache-2.0", "BSD-3-Clause", "MIT"),
}
"""The format has a list of 2021 and refuses younger licences; any other is named by its address."""
NOBODY = "creators not named"


def citation_file(facts: Facts) -> dict[str, Any]:
    """Give the content of `CITATION.cff`."""
    told = facts.citation
    content: dict[str, Any] = {
        "cff-version": "1.2.0",
        "message": "If you use this data release, please cite it as below.",
        "type": "dataset",
        "title": facts.title,
        "abstract": facts.description,
        "authors": [_author(creator) for creator in told.creators] or [{"name": NOBODY}],
        "version": facts.release,
        "date-released": facts.date,
    }
    if told.license in KNOWN_LICENCES:
        content["license"] = told.license
    elif told.license:
        content["license-url"] = f"https://spdx.org/licenses/{told.license}.html"
    if told.doi:
        content["doi"] = told.doi
    if told.keywords:
        content["keywords"] = list(dict.fromkeys(told.keywords))
    return content


def _author(creator: Creator) -> dict[str, str]:
    if not creator.is_person:
        return {"name": creator.name}
    author = {
        "family-names": creator.family_name,
        "given-names": creator.given_name,
        "alias": None if creator.family_name else creator.name,
        "orcid": ORCID_URL + creator.orcid if creator.orcid else None,
        "affiliation": creator.affiliation,
    }
    return {name: value for name, value in author.items() if value}

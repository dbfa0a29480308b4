"""`datacite.json`: DataCite's metadata schema 4.5, as its registration of DOIs takes it."""

from __future__ import annotations

from typing import Any

from skymill.config.citation import ORCID_URL, Creator
from skymill.release.documents.facts import Facts

UNKNOWN = ":unav"
"""DataCite's word for a value that is not available, possibly not known."""
NO_DOI = "No DOI has been assigned to this release; this record is a draft of its registration."


def datacite(facts: Facts) -> dict[str, Any]:
    """Give the content of `datacite.json`; without a DOI it says that there is none."""
    told = facts.citation
    content = {
        "doi": told.doi,
        "types": {"resourceTypeGeneral": "Dataset", "resourceType": "Machine-learning catalogues"},
        "creators": [_creator(creator) for creator in told.creators] or [{"name": UNKNOWN}],
        "titles": [{"title": facts.title}],
        "publisher": {"name": told.publisher or UNKNOWN},
        "publicationYear": facts.time[:4],
        "dates": [{"date": facts.date, "dateType": "Issued"}],
        "subjects": [{"subject": word} for word in dict.fromkeys(told.keywords)],
        "language": "en",
        "version": facts.release,
        "sizes": [f"{each.name}: {each.n_rows} sources in {each.n_tiles} tiles" for each in facts.catalogues],
        "formats": ["application/zip", "application/vnd.apache.parquet", "application/json"],
        "rightsList": [_rights(told.license)] if told.license else [],
        "descriptions": _descriptions(facts),
        "alternateIdentifiers": [
            {"alternateIdentifier": f"{each.name}/{each.version}", "alternateIdentifierType": "skymill version"}
            for each in facts.catalogues
        ],
        "relatedIdentifiers": _related(facts),
        "schemaVersion": "http://datacite.org/schema/kernel-4",
    }
    return {name: value for name, value in content.items() if value}


def _creator(creator: Creator) -> dict[str, Any]:
    known = {
        "name": creator.name,
        "nameType": "Personal" if creator.is_person else None,
        "givenName": creator.given_name,
        "familyName": creator.family_name,
        "affiliation": [{"name": creator.affiliation}] if creator.affiliation else None,
    }
    if creator.orcid:
        scheme = {"nameIdentifierScheme": "ORCID", "schemeUri": "https://orcid.org"}
        known["nameIdentifiers"] = [{"nameIdentifier": ORCID_URL + creator.orcid, **scheme}]
    return {name: value for name, value in known.items() if value}


def _rights(licence: str) -> dict[str, str]:
    return {
        "rights": licence,
        "rightsUri": f"https://spdx.org/licenses/{licence}.html",
        "schemeUri": "https://spdx.org/licenses/",
        "rightsIdentifier": licence,
        "rightsIdentifierScheme": "SPDX",
    }


def _descriptions(facts: Facts) -> list[dict[str, str]]:
    technical = "" if facts.citation.doi else NO_DOI
    told = {"Abstract": facts.description, "TechnicalInfo": technical}
    return [{"description": text, "descriptionType": kind} for kind, text in told.items() if text]


def _related(facts: Facts) -> list[dict[str, str]]:
    related = [
        {
            "relatedIdentifier": work.identifier,
            "relatedIdentifierType": "DOI" if work.is_doi else "URL",
            "relationType": work.relation,
        }
        for work in facts.citation.related
    ]
    if facts.previous_doi and facts.previous_doi != facts.citation.doi:
        former = {"relatedIdentifier": facts.previous_doi, "relatedIdentifierType": "DOI"}
        related.append({**former, "relationType": "IsNewVersionOf"})
    return related

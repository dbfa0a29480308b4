"""Documents that a release describes itself with, in the forms that archives and citation managers read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from skymill.release.documents.citation import citation_file
from skymill.release.documents.crate import ro_crate
from skymill.release.documents.datacite import datacite
from skymill.release.documents.facts import CatalogueFacts, Facts, ModelFacts, gather
from skymill.release.documents.prov import prov_document

RO_CRATE, PROV, CITATION, DATACITE = "ro-crate-metadata.json", "prov.json", "CITATION.cff", "datacite.json"

__all__ = [
    "CITATION",
    "DATACITE",
    "PROV",
    "RO_CRATE",
    "CatalogueFacts",
    "Facts",
    "ModelFacts",
    "doi_of",
    "gather",
    "write",
]


def write(facts: Facts, folder: Path) -> dict[str, Path]:
    """Write the four documents of a release, and give them by name; equal facts give equal bytes.

    Parameters
    ----------
    facts : Facts
    folder : Path
        Of the release.
    """
    for name, content in ((RO_CRATE, ro_crate(facts)), (PROV, prov_document(facts)), (DATACITE, datacite(facts))):
        (folder / name).write_bytes(_json(content))
    text = yaml.safe_dump(citation_file(facts), sort_keys=False, allow_unicode=True, width=120)
    (folder / CITATION).write_text(text, encoding="utf-8")
    return {name: folder / name for name in (RO_CRATE, PROV, CITATION, DATACITE)}


def doi_of(folder: Path) -> str:
    """Give the DOI of a release; empty where it has none, or was published before there were documents."""
    path = folder / DATACITE
    return json.loads(path.read_bytes()).get("doi", "") if path.is_file() else ""


def _json(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, indent=1, ensure_ascii=False).encode() + b"\n"

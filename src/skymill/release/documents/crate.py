"""`ro-crate-metadata.json`: RO-Crate 1.1 with the profile Process Run Crate."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote

from skymill.config.citation import DOI_URL, ORCID_URL, Creator
from skymill.release.documents.facts import CatalogueFacts, Facts

CRATE = "https://w3id.org/ro/crate/1.1"
PROFILE = "https://w3id.org/ro/wfrun/process/0.5"
CONTEXT = [f"{CRATE}/context", {"sha256": "https://w3id.org/ro/terms/workflow-run#sha256"}]
SOFTWARE, ACTION, PUBLISHER, TABLES = "#skymill", "#run", "#publisher", "#tables"
NO_LICENCE = "No licence is declared: ask the creators before you use this release."
MEDIA = {
    ".json": "application/json",
    ".parquet": "application/vnd.apache.parquet",
    ".html": "text/html",
    ".svg": "image/svg+xml",
    ".md": "text/markdown",
    ".png": "image/png",
}
Entity = dict[str, Any]


def ro_crate(facts: Facts) -> Entity:
    """Give the content of `ro-crate-metadata.json`."""
    descriptor = {
        "@id": "ro-crate-metadata.json",
        "@type": "CreativeWork",
        "conformsTo": _to(CRATE),
        "about": _to("./"),
    }
    parts = [*_catalogues(facts), *_files(facts)]
    data = [part for part in parts if part["@type"] != "PropertyValue"]
    graph = [descriptor, _root(facts, [part["@id"] for part in data]), *parts, *_contexts(facts), _action(facts)]
    return {"@context": CONTEXT, "@graph": graph}


def _root(facts: Facts, parts: list[str]) -> Entity:
    told = facts.citation
    entity = {
        "@id": "./",
        "@type": "Dataset",
        "conformsTo": _to(PROFILE),
        "name": f"{facts.title}, release {facts.release}",
        "description": facts.description,
        "version": facts.release,
        "datePublished": facts.time,
        "license": _to(_licence_id(told.license)) if told.license else NO_LICENCE,
        "creator": [_to(_creator_id(creator, n)) for n, creator in enumerate(told.creators)],
        "publisher": _to(PUBLISHER) if told.publisher else None,
        "identifier": DOI_URL + told.doi if told.doi else None,
        "keywords": list(told.keywords),
        "citation": [_to(work.url) for work in told.related],
        "hasPart": [_to(part) for part in parts],
        "mentions": _to(ACTION),
    }
    return _filled(entity)


def _catalogues(facts: Facts) -> Iterator[Entity]:
    """Give a Dataset for each catalogue, and what is counted of it."""
    for each in facts.catalogues:
        counted = {"sources": each.n_rows, "tiles": each.n_tiles, "settings": each.settings, "code": each.code}
        values = {name: value for name, value in counted.items() if value != ""}
        yield {
            "@id": _catalogue_id(each),
            "@type": "Dataset",
            "name": f"catalogue {each.name}",
            "description": f"Version {each.version}: {each.n_rows:,} sources in {each.n_tiles:,} tiles, each a Zarr v3 "
            "group in a zip file",
            "version": each.version,
            "sha256": each.sha256,
            "additionalProperty": [_to(f"#{each.name}-{name}") for name in values],
        }
        for name, value in values.items():
            yield {"@id": f"#{each.name}-{name}", "@type": "PropertyValue", "name": name, "value": value}


def _files(facts: Facts) -> Iterator[Entity]:
    """Give a File for each file of the release; a model's ONNX file is software too."""
    models = {model.file: model for model in facts.models}
    for name, sha256 in sorted(facts.files.items()):
        entity: Entity = {
            "@id": quote(name),
            "@type": "File",
            "name": name,
            "sha256": sha256,
            "encodingFormat": MEDIA.get(PurePosixPath(name).suffix),
        }
        if name in models:
            model = models[name]
            entity |= {
                "@type": ["File", "SoftwareSourceCode"],
                "name": f"ONNX model {model.name}",
                "description": f"Model of kind {model.kind}; calibration is part of the graph",
                "programmingLanguage": _to("https://onnx.ai"),
                "isBasedOn": f"training set {model.training_set}" if model.training_set else None,
            }
        yield _filled(entity)


def _contexts(facts: Facts) -> Iterator[Entity]:
    """Give who, what and by which right."""
    told = facts.citation
    yield {"@id": PROFILE, "@type": "CreativeWork", "name": "Process Run Crate", "version": "0.5"}
    yield _filled(
        {
            "@id": SOFTWARE,
            "@type": "SoftwareApplication",
            "name": "skymill",
            "softwareVersion": facts.made_with["skymill"],
            "identifier": facts.made_with["commit"],
        }
    )
    if facts.models:
        yield {"@id": "https://onnx.ai", "@type": "ComputerLanguage", "name": "ONNX", "url": "https://onnx.ai"}
    affiliations = {creator.affiliation for creator in told.creators if creator.affiliation}
    yield from ({"@id": _organisation_id(name), "@type": "Organization", "name": name} for name in sorted(affiliations))
    yield from (_creator(creator, n) for n, creator in enumerate(told.creators))
    if told.publisher:
        yield {"@id": PUBLISHER, "@type": "Organization", "name": told.publisher}
    if told.license:
        yield {"@id": _licence_id(told.license), "@type": "CreativeWork", "name": told.license}
    for work in {work.url: work for work in told.related}.values():
        yield _filled({"@id": work.url, "@type": "CreativeWork", "name": work.title or work.url})
    yield from _tables(facts)


def _tables(facts: Facts) -> Iterator[Entity]:
    """Give the input tables, which are not part of the release."""
    for name, sha256 in sorted(facts.tables.items()):
        yield {"@id": f"#table/{quote(name)}", "@type": "CreativeWork", "name": name, "sha256": sha256}
    if not facts.tables:
        unlisted = {"@id": TABLES, "@type": "CreativeWork", "name": f"tables of {facts.survey}, not listed"}
        yield _filled({**unlisted, "sha256": facts.data})


def _action(facts: Facts) -> Entity:
    tables = [f"#table/{quote(name)}" for name in sorted(facts.tables)] or [TABLES]
    creators = [_to(_creator_id(creator, n)) for n, creator in enumerate(facts.citation.creators)]
    return _filled(
        {
            "@id": ACTION,
            "@type": "CreateAction",
            "name": f"the run that made release {facts.release}",
            "instrument": _to(SOFTWARE),
            "agent": creators,
            "object": [_to(table) for table in tables],
            "result": [_to(_catalogue_id(each)) for each in facts.catalogues],
            "endTime": facts.time,
        }
    )


def _creator(creator: Creator, n: int) -> Entity:
    return _filled(
        {
            "@id": _creator_id(creator, n),
            "@type": "Person" if creator.is_person else "Organization",
            "name": creator.name,
            "givenName": creator.given_name,
            "familyName": creator.family_name,
            "affiliation": _to(_organisation_id(creator.affiliation)) if creator.affiliation else None,
        }
    )


def _creator_id(creator: Creator, n: int) -> str:
    return ORCID_URL + creator.orcid if creator.orcid else f"#creator-{n + 1}"


def _organisation_id(name: str) -> str:
    return f"#organisation/{quote(name, safe='')}"


def _licence_id(licence: str) -> str:
    return f"https://spdx.org/licenses/{licence}"


def _catalogue_id(each: CatalogueFacts) -> str:
    return f"catalogues/{quote(each.name)}/"


def _to(identifier: str) -> dict[str, str]:
    return {"@id": identifier}


def _filled(entity: Mapping[str, Any]) -> Entity:
    """Leave out what is not known."""
    return {name: value for name, value in entity.items() if value not in (None, "", [])}

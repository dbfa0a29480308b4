"""`prov.json`: what a release was derived from, as PROV-JSON (W3C PROV-DM)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import count
from typing import Any
from urllib.parse import quote

from skymill.config.citation import ORCID_URL
from skymill.release.documents.facts import FEATURES, SOURCES, CatalogueFacts, Facts, ModelFacts
from skymill.store import short

PREFIXES = {"sm": "urn:skymill:", "orcid": ORCID_URL}
SOFTWARE = "sm:software"
REVISION = {"$": "prov:Revision", "type": "prov:QUALIFIED_NAME"}


class _Document:
    """A PROV document being written."""

    def __init__(self) -> None:
        self.content: dict[str, dict[str, Any]] = defaultdict(dict, prefix=dict(PREFIXES))
        self._number = count(1)

    def entity(self, name: str, label: str, **attributes: str) -> str:
        """Describe a thing; attributes are our own, those that are empty are left out."""
        return self._describe("entity", name, label, attributes)

    def activity(self, name: str, label: str, *, used: Sequence[str], made: str, **attributes: str) -> None:
        """Describe what skymill did: what it used and what came of it, which is derived from all that was used."""
        self._describe("activity", name, label, attributes)
        self.relate("wasAssociatedWith", activity=name, agent=SOFTWARE)
        self.relate("wasGeneratedBy", entity=made, activity=name)
        for entity in dict.fromkeys(used):
            self.relate("used", activity=name, entity=entity)
            self.relate("wasDerivedFrom", generatedEntity=made, usedEntity=entity)

    def agent(self, name: str, label: str, kind: str, **attributes: str) -> str:
        """Describe who did it: kind is a name of PROV-DM."""
        self._describe("agent", name, label, attributes)
        self.content["agent"][name]["prov:type"] = {"$": f"prov:{kind}", "type": "prov:QUALIFIED_NAME"}
        return name

    def relate(self, relation: str, *, kind: dict[str, str] | None = None, **ends: str) -> None:
        """Add a relation; its name is a number in the order of the document."""
        values: dict[str, Any] = {f"prov:{end}": name for end, name in ends.items()}
        self.content[relation][f"_:r{next(self._number)}"] = values | ({"prov:type": kind} if kind else {})

    def _describe(self, kind: str, name: str, label: str, attributes: dict[str, str]) -> str:
        own = {f"sm:{attribute}": value for attribute, value in attributes.items() if value}
        self.content[kind][name] = {"prov:label": label, **own}
        return name


def prov_document(facts: Facts) -> dict[str, Any]:
    """Give the content of `prov.json`: from the release one comes, edge by edge, to each input table."""
    document = _Document()
    known = {name: value or "" for name, value in facts.made_with.items()}
    document.agent(SOFTWARE, "skymill", "SoftwareAgent", version=known["skymill"], commit=known["commit"])
    tables = _tables(document, facts)
    catalogues = {each.name: _catalogue(document, each) for each in facts.catalogues}
    by_name = {each.name: each for each in facts.catalogues}
    sources, features = catalogues.get(SOURCES), catalogues.get(FEATURES)
    measured = [each for each in facts.catalogues if each.of_images]
    for each in measured:
        _stage(document, f"features/{each.name}", each, used=tables, made=catalogues[each.name])
    inputs = [catalogues[each.name] for each in measured] or tables
    if sources:
        _stage(document, "tiling", by_name[SOURCES], used=inputs, made=sources)
    if features:
        _stage(document, "features", by_name[FEATURES], used=[sources] if sources else tables, made=features)
    rows = [features] if features else [sources] if sources else tables
    for model in facts.models:
        onnx = _model(document, model, rows)
        made = catalogues[model.name]
        _stage(document, f"inference/{model.name}", by_name[model.name], used=[*rows, onnx], made=made)
    _release(document, facts, [*catalogues.values(), *(_onnx_id(model) for model in facts.models)])
    return dict(document.content)


def _tables(document: _Document, facts: Facts) -> list[str]:
    """Describe the input; as one thing where the tables are not listed."""
    if not facts.tables:
        name = f"sm:tables/{short(facts.data) or 'unknown'}"
        return [document.entity(name, f"tables of {facts.survey}, not listed", digest=facts.data)]
    return [
        document.entity(f"sm:table/{quote(name)}", name, sha256=sha256) for name, sha256 in sorted(facts.tables.items())
    ]


def _catalogue(document: _Document, each: CatalogueFacts) -> str:
    numbers = {"sources": str(each.n_rows), "tiles": str(each.n_tiles)}
    label = f"catalogue {each.name}, version {each.version}"
    return document.entity(f"sm:catalogue/{each.name}/{each.version}", label, sha256=each.sha256, **numbers)


def _stage(document: _Document, stage: str, each: CatalogueFacts, *, used: Sequence[str], made: str) -> None:
    document.activity(
        f"sm:stage/{stage}/{each.version}",
        stage,
        used=used,
        made=made,
        code=each.code,
        settings=each.settings,
        commit=each.commit,
    )


def _model(document: _Document, model: ModelFacts, rows: Sequence[str]) -> str:
    """Describe a model from its training set to its ONNX file; one from elsewhere has only the file."""
    onnx = document.entity(_onnx_id(model), f"ONNX model {model.name}", sha256=model.sha256)
    if not model.fit:
        return onnx
    fit = document.entity(f"sm:fit/{model.name}/{model.fit}", f"fit of {model.name}", kind=model.kind)
    training_set = f"sm:training_set/{short(model.training_set)}"
    known = {"digest": model.fit}
    if training_set not in document.content["entity"]:
        document.entity(training_set, "training set", sha256=model.training_set)
        labels = f"sm:labels/{short(model.labels)}"
        told = [document.entity(labels, "labels", digest=model.labels)] if model.labels else []
        name = f"sm:stage/training_set/{short(model.training_set)}"
        document.activity(name, "training set", used=[*rows, *told], made=training_set)
    document.activity(
        f"sm:stage/training/{model.fit}", f"training of {model.name}", used=[training_set], made=fit, **known
    )
    document.activity(f"sm:stage/export/{short(model.sha256)}", f"export of {model.name}", used=[fit], made=onnx)
    return onnx


def _onnx_id(model: ModelFacts) -> str:
    return f"sm:onnx/{model.name}/{short(model.sha256)}"


def _release(document: _Document, facts: Facts, parts: Sequence[str]) -> None:
    """Describe the release, who it is by, and the one before it."""
    release = document.entity(f"sm:release/{facts.release}", f"release {facts.release}", doi=facts.citation.doi or "")
    publishing = f"sm:stage/publishing/{facts.release}"
    document.activity(publishing, "publishing", used=parts, made=release)
    time = {"prov:startTime": facts.time, "prov:endTime": facts.time}
    document.content["activity"][publishing] |= time
    for n, creator in enumerate(facts.citation.creators):
        name = f"orcid:{creator.orcid}" if creator.orcid else f"sm:creator/{n + 1}"
        document.agent(name, creator.name, "Person" if creator.is_person else "Organization")
        document.relate("wasAttributedTo", entity=release, agent=name)
    if facts.previous:
        before = document.entity(f"sm:release/{facts.previous}", f"release {facts.previous}", doi=facts.previous_doi)
        document.relate("wasDerivedFrom", kind=REVISION, generatedEntity=release, usedEntity=before)

"""The documents of a release, against the libraries and schemas of those who read them."""

from __future__ import annotations

import hashlib
import json
import re
from collections import defaultdict
from pathlib import Path

import jsonschema
import pytest
import yaml
from datacite import schema45
from hypothesis import given, settings
from hypothesis import strategies as st
from prov.model import ProvDocument
from published_run import PublishedRun
from pydantic import ValidationError
from rocrate.rocrate import ROCrate

from skymill.config.citation import CitationSettings, Creator, RelatedWork, check_orcid
from skymill.release import Releases, documents
from skymill.release.documents import CatalogueFacts, Facts, ModelFacts
from skymill.release.documents.datacite import NO_DOI, UNKNOWN
from skymill.store import file_sha256, open_catalogue

CFF = json.loads((Path(__file__).parents[1] / "schemas" / "cff-1.2.0.schema.json").read_text())
NAMES = ("ro-crate-metadata.json", "prov.json", "CITATION.cff", "datacite.json")


def read(folder: Path, name: str) -> dict:
    return json.loads((folder / name).read_text())


def check_all(folder: Path) -> None:
    """Hold the documents of a folder against what defines their forms."""
    citation = yaml.safe_load((folder / "CITATION.cff").read_text())
    jsonschema.validate(citation, CFF, format_checker=jsonschema.FormatChecker())
    schema45.validate(read(folder, "datacite.json"))
    crate = ROCrate(read(folder, "ro-crate-metadata.json"))
    known = {entity.id for entity in crate.get_entities()}
    assert {part.id for part in crate.root_dataset["hasPart"]} <= known and crate.root_dataset["datePublished"]
    for entity in read(folder, "ro-crate-metadata.json")["@graph"]:
        assert all(end in known for end in references(entity)), entity
    document = ProvDocument.deserialize(content=(folder / "prov.json").read_text(), format="json")
    assert document.unified().get_records()


def references(entity: dict) -> list[str]:
    """What an entity of a crate refers to; the version of the specification is no entity."""
    values = [value for name, value in entity.items() if name != "conformsTo"]
    each = [one for value in values for one in (value if isinstance(value, list) else [value])]
    return [one["@id"] for one in each if isinstance(one, dict)]


def ancestors(path: Path, start: str) -> set[str]:
    """Walk a PROV document from an entity to all that it came from, as the prov library reads it."""
    document = ProvDocument.deserialize(content=path.read_text(), format="json")
    edges = defaultdict(set)
    for record in document.get_records():
        if record.is_relation():
            (_, first), (_, second) = record.formal_attributes[:2]
            edges[str(first)].add(str(second))
    found, waiting = set(), [start]
    while waiting:
        for end in edges[waiting.pop()] - found:
            found.add(end)
            waiting.append(end)
    return found


@pytest.fixture(scope="module")
def folders(published: PublishedRun) -> dict[str, Path]:
    return {name: published.output / "releases" / name for name in Releases(published.output).names()}


def test_the_documents_of_every_release_are_valid_and_under_its_digests(folders):
    for name, folder in folders.items():
        check_all(folder)
        told = Releases(folder.parents[1]).read(name)
        assert {each: told["files"][each] for each in NAMES} == {each: file_sha256(folder / each) for each in NAMES}


def test_the_crate_says_what_is_there_and_who_made_it_from_what(folders, published):
    crate = ROCrate(folders["DR1"])
    root = crate.root_dataset
    assert (root["name"], root["version"]) == ("Toy catalogues, release DR1", "DR1")
    assert root["license"].id == "https://spdx.org/licenses/CC-BY-4.0"
    assert [(one.id, one.type) for one in root["creator"]] == [
        ("https://orcid.org/0000-0002-1825-0097", "Person"),
        ("#creator-2", "Organization"),
    ]
    assert root["creator"][0]["affiliation"]["name"] == "Brown University"
    action = root["mentions"]
    assert action.type == "CreateAction" and action["instrument"]["name"] == "skymill"
    tables = {table["name"]: table["sha256"] for table in action["object"]}
    expected = {path.name: file_sha256(path) for path in Path(published.survey.path).iterdir()}
    assert tables == expected and len(tables) == 3
    for catalogue in action["result"]:
        opened = open_catalogue(folders["DR1"] / catalogue.id)
        counted = {value["name"]: value["value"] for value in catalogue["additionalProperty"]}
        assert (counted["sources"], counted["tiles"]) == (opened.n_rows, len(opened.tiles))
        assert catalogue["version"] == opened.version
    [model] = [part for part in root["hasPart"] if "SoftwareSourceCode" in part.type]
    assert hashlib.sha256((folders["DR1"] / model.id).read_bytes()).hexdigest() == model["sha256"]


def test_every_file_of_a_release_stands_in_its_crate(folders):
    for folder in folders.values():
        crate = ROCrate(folder)
        listed = {part["name"] if part.type == "File" else part.id for part in crate.root_dataset["hasPart"]}
        there = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
        left = {name for name in there if not name.startswith("catalogues/")} - {*NAMES, "manifest.json"}
        assert left <= listed


def test_from_a_release_one_comes_to_every_table_and_to_the_release_before(folders, published):
    for name, folder in folders.items():
        found = ancestors(folder / "prov.json", f"sm:release/{name}")
        assert {f"sm:table/part%20{number}.parquet" for number in range(3)} <= found
        catalogues = {
            each: told["version"] for each, told in Releases(published.output).read(name)["catalogues"].items()
        }
        assert {f"sm:catalogue/{each}/{version}" for each, version in catalogues.items()} <= found
        assert "sm:software" in found
        everything = read(folder, "prov.json")
        assert {*everything["entity"], *everything["activity"], *everything["agent"]} - {f"sm:release/{name}"} == found
    assert "sm:release/DR2" in ancestors(folders["DR3"] / "prov.json", "sm:release/DR3")
    revisions = [
        relation for relation in read(folders["DR3"], "prov.json")["wasDerivedFrom"].values() if "prov:type" in relation
    ]
    [revision] = revisions
    assert revision["prov:type"]["$"] == "prov:Revision" and revision["prov:usedEntity"] == "sm:release/DR2"


def test_activities_carry_the_digest_of_the_code_and_tables_their_own(folders, published):
    told = read(folders["DR2"], "prov.json")
    tile = open_catalogue(folders["DR2"] / "catalogues" / "m")
    first = tile.reader(*tile.tiles.loc[0, ["order", "pixel"]])
    activity = told["activity"][f"sm:stage/inference/m/{tile.version}"]
    assert activity["sm:code"] == first.receipt["ingredients"]["algorithm"]
    path = Path(published.survey.path) / "part 0.parquet"
    assert told["entity"]["sm:table/part%200.parquet"]["sm:sha256"] == file_sha256(path)


def test_a_doi_is_given_or_said_to_be_missing(folders):
    first, second = (read(folders[name], "datacite.json") for name in ("DR1", "DR2"))
    assert first["doi"] == "10.5281/zenodo.1234567" and NO_DOI not in json.dumps(first)
    assert "doi" not in second and NO_DOI in json.dumps(second)
    assert {
        "relatedIdentifier": first["doi"],
        "relatedIdentifierType": "DOI",
        "relationType": "IsNewVersionOf",
    } in second["relatedIdentifiers"]
    assert yaml.safe_load((folders["DR1"] / "CITATION.cff").read_text())["doi"] == first["doi"]


def test_what_is_not_configured_is_said_not_to_be_known(folders):
    told, cite = read(folders["DR2"], "datacite.json"), yaml.safe_load((folders["DR2"] / "CITATION.cff").read_text())
    assert told["creators"] == [{"name": UNKNOWN}] and told["publisher"] == {"name": UNKNOWN}
    assert told["titles"] == [{"title": "Machine-learning catalogues of toy"}] and "rightsList" not in told
    assert cite["authors"] == [{"name": "creators not named"}] and "license" not in cite
    assert "No licence is declared" in ROCrate(folders["DR2"]).root_dataset["license"]


WORDS = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=30)


def with_check_digit(digits: str) -> str:
    """Complete an ORCID by trying: ISO 7064 has all sixteen, weighed by powers of two, leave 1 over 11."""
    [whole] = [digits + last for last in "0123456789X" if remainder(digits + last) == 1]
    return "-".join(re.findall(".{4}", whole))


def remainder(bare: str) -> int:
    return sum((10 if digit == "X" else int(digit)) * 2 ** (15 - n) for n, digit in enumerate(bare)) % 11


ORCIDS = st.text("0123456789", min_size=15, max_size=15).map(with_check_digit)
DOIS = st.from_regex(r"10\.\d{4,9}/[A-Za-z0-9:/_;().-]+", fullmatch=True)
MAYBE = st.none() | WORDS
CREATORS = st.builds(
    Creator, name=WORDS, given_name=MAYBE, family_name=MAYBE, orcid=st.none() | ORCIDS, affiliation=MAYBE
)
CITATIONS = st.builds(
    CitationSettings,
    title=MAYBE,
    description=MAYBE,
    creators=st.lists(CREATORS, max_size=3, unique_by=lambda one: one.orcid or one.name),
    publisher=MAYBE,
    license=st.sampled_from([None, "CC-BY-4.0", "CDLA-Permissive-2.0", "CC0-1.0", "MIT", "Etalab-2.0"]),
    doi=st.none() | DOIS,
    keywords=st.lists(WORDS, max_size=3),
    related=st.lists(
        st.builds(RelatedWork, identifier=DOIS | st.just("https://example.org/a_survey"), title=MAYBE), max_size=3
    ),
)


def facts(citation: CitationSettings, tables: dict[str, str], previous: str = "") -> Facts:
    """Two models, an ensemble's worth of stages, and whatever is cited."""
    catalogues = [
        CatalogueFacts(name, "1" * 12, "2" * 12, 10, 2, "3" * 64, "4" * 64) for name in ("sources", "features")
    ]
    models = [ModelFacts(n, "forest", f"models/{n}/{n}.onnx", 64 * n[0], f"{n}12", "5" * 64, "6" * 64) for n in "ab"]
    catalogues += [CatalogueFacts(name, "7" * 12, "8" * 12, 10, 2, "9" * 64) for name in "ab"]
    files = {"gate.json": "a" * 64, "a page.html": "b" * 64} | {model.file: model.sha256 for model in models}
    return Facts(
        "DR1", "2026-01-02T03:04:05+00:00", "sky", previous, "", citation, tables, "c" * 64,
        tuple(catalogues), tuple(models), files, {"skymill": "0.1.0", "commit": None},
    )  # fmt: skip


@settings(max_examples=15, deadline=None)
@given(CITATIONS, st.dictionaries(WORDS, st.just("d" * 64), max_size=3), st.sampled_from(["", "DR0"]))
def test_the_documents_are_valid_whatever_is_cited(tmp_path_factory, citation, tables, previous):
    folder = tmp_path_factory.mktemp("documents")
    told = facts(citation, tables, previous)
    documents.write(told, folder)
    check_all(folder)
    before = [(folder / name).read_bytes() for name in NAMES]
    documents.write(told, folder)
    assert [(folder / name).read_bytes() for name in NAMES] == before
    found = ancestors(folder / "prov.json", "sm:release/DR1")
    entities = {name: one["prov:label"] for name, one in read(folder, "prov.json")["entity"].items()}
    assert {name for name in entities if name != "sm:release/DR1"} <= found
    assert {"fit of a", "training set", "labels", "ONNX model b"} <= {
        entities[name] for name in found if name in entities
    }


@given(ORCIDS, st.integers(0, 15), st.sampled_from("0123456789X"))
def test_an_orcid_with_a_wrong_digit_is_refused(orcid, place, digit):
    assert check_orcid(orcid) == check_orcid(f"https://orcid.org/{orcid}") == orcid
    bare = orcid.replace("-", "")
    spoilt = bare[:place] + digit + bare[place + 1 :]
    if spoilt != bare:
        with pytest.raises(ValueError, match="expected an ORCID"):
            check_orcid("-".join(re.findall(".{4}", spoilt)))


@pytest.mark.parametrize("orcid", ["0000-0002-1825-0097", "0000-0001-5109-3700", "0000-0002-1694-233X"])
def test_orcids_of_their_documentation_are_right(orcid):
    assert check_orcid(orcid) == orcid


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("doi", "zenodo.1", "expected a DOI like 10.5281"),
        ("license", "CC BY 4.0", "expected one identifier of https://spdx.org/licenses"),
        ("license", "MIT OR Apache-2.0", "expected one identifier"),
        ("license", "LicenseRef-mine", "expected one identifier"),
        ("related", [{"identifier": "arXiv:1"}], "expected a DOI"),
        ("creators", [{"name": ""}], "at least 1 character"),
        ("titel", "x", "Extra inputs are not permitted"),
    ],
)
def test_what_cannot_be_cited_is_refused(key, value, message):
    with pytest.raises(ValidationError, match=message):
        CitationSettings.model_validate({key: value})


def test_a_licence_is_spelt_as_in_its_list():
    assert CitationSettings(license="cc-by-4.0").license == "CC-BY-4.0"

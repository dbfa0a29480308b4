"""What the documents of a release say, gathered from a run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from skymill.config.citation import CitationSettings
from skymill.store import Catalogue, file_sha256
from skymill.store.kinds import IMAGES
from skymill.store.paths import MANIFEST

SOURCES, FEATURES = "sources", "features"
MODELS = "models"


@dataclass(frozen=True)
class CatalogueFacts:
    """A version of a catalogue.

    Attributes
    ----------
    name, version, settings : str
        `settings` is the digest of what all its tiles share.
    n_rows, n_tiles : int
    sha256 : str
        Of the version's `manifest.json`, which holds the digests of all the rest.
    code : str
        Digest of the code that made its first tile; empty where the tile does not say.
    commit : str
        Of the skymill that sealed it; empty where it did not run from a checkout.
    of_images : bool
        Whether its tiles are those of images, from which the sources come.
    """

    name: str
    version: str
    settings: str
    n_rows: int
    n_tiles: int
    sha256: str
    code: str = ""
    commit: str = ""
    of_images: bool = False


@dataclass(frozen=True)
class ModelFacts:
    """A model of a release.

    Attributes
    ----------
    name, kind : str
    file, sha256 : str
        Its ONNX file, below the release's folder.
    fit : str
        Digest of settings, code, seed and training set; empty for a file from elsewhere.
    training_set, labels : str
        SHA-256 of the training set, digest of the label table; empty where they are not known.
    """

    name: str
    kind: str
    file: str
    sha256: str
    fit: str = ""
    training_set: str = ""
    labels: str = ""


@dataclass(frozen=True)
class Facts:
    """What is said of a release.

    Attributes
    ----------
    release, time : str
        Its name, and when it was published (ISO 8601, UTC).
    previous, previous_doi : str
        The release before it and its DOI; empty where there is none.
    survey : str
        Name of the survey, or of the run where the run does not tell.
    citation : CitationSettings
    tables : mapping of str to str
        SHA-256 of each input table, by name.
    data : str
        Digest of all of them together; empty where it is not known.
    catalogues, models : tuple
    files : mapping of str to str
        SHA-256 of each file of the release, but not of the documents and its `manifest.json`.
    made_with : mapping
        Version and commit of skymill.
    """

    release: str
    time: str
    survey: str
    previous: str = ""
    previous_doi: str = ""
    citation: CitationSettings = field(default_factory=CitationSettings)
    tables: Mapping[str, str] = field(default_factory=dict)
    data: str = ""
    catalogues: tuple[CatalogueFacts, ...] = ()
    models: tuple[ModelFacts, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)
    made_with: Mapping[str, str | None] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """Its title."""
        return self.citation.title or f"Machine-learning catalogues of {self.survey}"

    @property
    def description(self) -> str:
        """What it is."""
        models = ", ".join(model.name for model in self.models) or "none"
        held = ", ".join(f"{each.name} ({each.n_rows:,} sources, {each.n_tiles:,} tiles)" for each in self.catalogues)
        return self.citation.description or (
            f"Release {self.release}: catalogues {held}; models {models}. Made with skymill from the tables of "
            f"{self.survey}."
        )

    @property
    def date(self) -> str:
        """The day of its publication."""
        return self.time[:10]


def gather(
    known: Facts, *, run: Path, folder: Path, opened: Mapping[str, Catalogue], models: Mapping[str, Mapping[str, Any]]
) -> Facts:
    """Add to what is known of a release what the run tells.

    Parameters
    ----------
    known : Facts
        Its `survey` stays where the run does not tell another name.
    run : Path
        The run's folder.
    folder : Path
        The release's, complete but for the documents and its manifest.
    opened : mapping of str to Catalogue
    models : mapping of str to mapping
        What each published model says of itself in its `manifest.json`.

    Raises
    ------
    StoreError
        If a catalogue cannot be read.
    """
    plan, training = _read(run / "tiling" / "plan.json"), _read(run / "training" / "set.json")
    return replace(
        known,
        survey=plan.get("survey", known.survey),
        data=plan.get("data", ""),
        catalogues=tuple(_catalogue(catalogue) for catalogue in opened.values()),
        models=tuple(_model(name, told, folder, training) for name, told in models.items()),
    )


def _catalogue(catalogue: Catalogue) -> CatalogueFacts:
    location = Path(catalogue.location)
    receipt: Mapping[str, Any] = {}
    if len(catalogue.tiles):
        receipt = catalogue.reader_of(catalogue.places[0]).receipt
    return CatalogueFacts(
        catalogue.name,
        catalogue.version,
        catalogue.manifest["settings"],
        catalogue.n_rows,
        len(catalogue.tiles),
        file_sha256(location / MANIFEST),
        receipt.get("ingredients", {}).get("algorithm", ""),
        _read(location / MANIFEST)["made_with"]["commit"] or "",
        catalogue.kind is IMAGES,
    )


def _model(name: str, told: Mapping[str, Any], folder: Path, training: Mapping[str, Any]) -> ModelFacts:
    schema = told.get("schema", {})
    found = schema.get("training_set") or ""
    file = folder / MODELS / name / f"{told.get('onnx', 'model')}.onnx"
    return ModelFacts(
        name,
        schema.get("kind", "onnx"),
        str(file.relative_to(folder)),
        told.get("sha256") or file_sha256(file),
        told.get("fit") or "",
        found,
        training["labels"]["digest"] if found and training.get("sha256") == found else "",
    )


def _read(path: Path) -> dict[str, Any]:
    """Read a document of a run; nothing where there is none."""
    content: dict[str, Any] = json.loads(path.read_bytes()) if path.is_file() else {}
    return content

"""Everything that is known of one source: input, features, models, answers, releases."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from skymill.release.explaining.answers import (
    answer_again,
    flags_in_words,
    onnx_file,
    stored_answer,
    stored_features,
)
from skymill.release.explaining.finding import Place, UnknownSourceError, find, find_at, put_aside
from skymill.release.explaining.history import history, last_change
from skymill.release.explaining.origin import origin_of
from skymill.release.folder import CATALOGUES, MANIFEST, Releases
from skymill.sessions.entry import ModelFileError
from skymill.store import Catalogue, TileReader, file_sha256, open_catalogue, short
from skymill.tiling.files import TilingFiles

SOURCES, FEATURES, MODELS = "sources", "features", "models"


def explain_source(
    run: str | Path,
    object_id: int,
    *,
    models: Sequence[str],
    release: str | None = None,
    near: tuple[float, float, float] | None = None,
    tables: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Say where the answers on a source come from.

    Parameters
    ----------
    run : Path
        The run's folder.
    object_id : int
    models : sequence of str
        Names of models' catalogues.
    release : str, optional
        Explain it as it is in this release; default as it was sealed last.
    near : (float, float, float), optional
        A circle that it is in: RA, Dec and radius in degrees; without it all ids are read.
    tables : mapping of str to str, optional
        SHA-256 of each table that the run was made from, by name.

    Returns
    -------
    dict
        `objectId` as text, and `put_aside`: rows of this id that are in no tile. Where it is in a tile also `place`,
        `origin`, `source` (its tile and flags), `features`, and `models`: of each the model, the stored answer, the
        same computed again, and what every release said.

    Raises
    ------
    UnknownSourceError
        If it is nowhere.
    ReleaseError, FileNotFoundError
        If there is no such release or catalogue.
    """
    run = Path(run)
    folder = run if release is None else Releases(run).folder(release)
    if release is not None:
        Releases(run).read(release)
    sources = open_catalogue(folder / CATALOGUES / SOURCES)
    aside = put_aside(sources, TilingFiles(run).quarantine, object_id)
    place = find(sources, object_id, near=near)
    told = {"objectId": str(object_id), "release": release, "put_aside": aside}
    if place is None:
        if not aside:
            raise UnknownSourceError(_unknown(sources, object_id, near))
        return told
    features = open_catalogue(folder / CATALOGUES / FEATURES)
    measured = _row(features, place, object_id)
    return {
        **told,
        "place": {**asdict(place), "tile": str(place.tile), "healpix29": str(place.healpix29)},
        "origin": asdict(origin_of(run, sources, place, object_id, tables or {})),
        "source": _source(sources.reader(*place.tile), place.row) | {"version": sources.version},
        "features": measured
        and {**_tile(measured[0]), "version": features.version, "values": stored_features(*measured)},
        "models": {
            model: _model(folder, model, measured, place, object_id) | _releases(Releases(run), model, place, object_id)
            for model in models
        },
    }


def _unknown(sources: Catalogue, object_id: int, near: tuple[float, float, float] | None) -> str:
    version = f"{sources.name} version {sources.version}"
    if near is None:
        where = f"among the {sources.n_rows:,} rows of {version}, nor among those put aside"
        return f"source {object_id}: not found {where}; is it an id of this survey?"
    ra, dec, radius = near
    where = f"within {3600 * radius:g} arcsec of {ra:g}, {dec:g} in {version}, nor among the rows put aside"
    return f"source {object_id}: not found {where}; without --near all {sources.n_rows:,} rows are searched"


def _row(catalogue: Catalogue, place: Place, object_id: int) -> tuple[TileReader, int] | None:
    """Find a source in another catalogue of the run: its tile and row."""
    found = find_at(catalogue, object_id, place.healpix29)
    return None if found is None else (catalogue.reader(*found.tile), found.row)


def _tile(reader: TileReader) -> dict[str, str]:
    return {"key": reader.receipt["key"], "file": str(Path(reader.location).resolve())}


def _source(reader: TileReader, row: int) -> dict[str, Any]:
    flags = int(reader.rows(row, row + 1, ["flags"])["flags"][0])
    return {**_tile(reader), "flags": flags_in_words(reader, flags)}


def _releases(releases: Releases, model: str, place: Place, object_id: int) -> dict[str, Any]:
    steps = history(releases, model, object_id, place.healpix29)
    return {"releases": [asdict(step) for step in steps], "changed_last_by": last_change(steps)}


def _model(
    folder: Path, model: str, measured: tuple[TileReader, int] | None, place: Place, object_id: int
) -> dict[str, Any]:
    """Tell what a model says of a source, and what made it; nothing where its catalogue does not hold the source."""
    catalogue = open_catalogue(folder / CATALOGUES / model)
    found = _row(catalogue, place, object_id)
    if found is None:
        return {"version": catalogue.version, "answer": None}
    reader, answer = found[0], stored_answer(*found)
    onnx = reader.receipt["ingredients"]["onnx"]
    told = {**_tile(reader), "version": catalogue.version, "onnx": onnx, "answer": answer}
    told |= _made_of(folder / MODELS / model, reader, onnx)
    try:
        file = onnx_file(folder / MODELS / model, onnx)
        again = answer_again(*_inputs(reader, measured), file, onnx, answer["probabilities"])
    except ModelFileError as error:
        return {**told, "recomputed": None, "note": str(error)}
    return {**told, "recomputed": asdict(again)}


def _inputs(reader: TileReader, measured: tuple[TileReader, int] | None) -> tuple[TileReader, int]:
    """Give the features that a tile was made from.

    Raises
    ------
    ModelFileError
        If the feature catalogue beside it has others by now.
    """
    expected = reader.receipt["ingredients"]["input"]
    if measured is None or file_sha256(measured[0].location) != expected:
        raise ModelFileError(
            f"{reader.location}: made from features of SHA-256 {expected}, which the catalogue of features no longer "
            "holds; run snakemake to its end, or name a --release"
        )
    return measured


def _made_of(folder: Path, reader: TileReader, onnx: str) -> dict[str, Any]:
    """Name the fit and the training set of a model, if what stands there is still the model of that ONNX file."""
    manifest = json.loads((folder / MANIFEST).read_bytes())
    return {
        "kind": reader.attrs["model_kind"],
        "training_set": reader.attrs["training_set"],
        "fit": manifest["fit"] if manifest["onnx"] == short(onnx) else None,
    }

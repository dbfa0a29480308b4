"""Publishing a run as a release, and going back to an earlier one."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from skymill.config import ComputeSettings
from skymill.config.citation import CitationSettings
from skymill.config.run import GateSettings
from skymill.release import documents
from skymill.release.diffing import diff
from skymill.release.diffing.rows import is_comparable
from skymill.release.folder import (
    CATALOGUES,
    FORMAT,
    GATE,
    MANIFEST,
    ReleaseError,
    Releases,
)
from skymill.release.gate import Facts, Verdict, judge
from skymill.store import Catalogue, file_sha256, made_with, open_catalogue
from skymill.store.document import to_document
from skymill.store.durable import staged_folder
from skymill.store.inventory import inventory
from skymill.store.kinds import SKY
from skymill.store.paths import STAGING

logger = logging.getLogger(__name__)


class GateError(ReleaseError):
    """A run is not within its limits; `broken` are those that it does not keep."""

    def __init__(self, broken: Sequence[Verdict]) -> None:
        self.broken = broken
        lines = "\n".join(f"  {verdict}" for verdict in broken)
        super().__init__(f"the gate refuses (release.gate of the run's file):\n{lines}")


@dataclass(frozen=True)
class Override:
    """Somebody publishes although the gate refuses, and says why."""

    reason: str
    author: str


@dataclass(frozen=True)
class Content:
    """What is to be published.

    Attributes
    ----------
    run : Path
        The run's folder.
    catalogues : sequence of str
        Their current versions are published.
    models : sequence of str
        Those among them that a model gave, in the same words.
    configuration : mapping
        Of the run, as plain JSON; recorded.
    magnitude : str
        Name of the feature that what moved is told by.
    citation : CitationSettings
        For the documents.
    tables : mapping of str to str
        SHA-256 of each table that the run was made from, for the documents; empty where that is not known.
    segmenters : sequence of str
        Those among the catalogues whose sources a segmenter has found beside those of the survey.
    """

    run: Path
    catalogues: Sequence[str]
    models: Sequence[str]
    configuration: Mapping[str, Any] = field(default_factory=dict)
    magnitude: str = ""
    citation: CitationSettings = field(default_factory=CitationSettings)
    tables: Mapping[str, str] = field(default_factory=dict)
    segmenters: Sequence[str] = ()


def publish(
    content: Content,
    name: str,
    *,
    gate: GateSettings,
    page: Callable[[Mapping[str, Any], Path], Path],
    override: Override | None = None,
    compute: ComputeSettings | None = None,
    workers: int = 1,
) -> dict[str, Any]:
    """Compare a run with the current release, hold it against the gate, and make it the current release.

    Nothing that was published before is touched, and until the last rename everybody sees the release before. What was
    killed between its last two renames is finished by doing it again.

    Parameters
    ----------
    content : Content
    name : str
        Of the release: never used before.
    gate : GateSettings
    page : callable
        Writes the page of a comparison into its folder.
    override : Override, optional
        Publish even if the gate refuses.
    compute : ComputeSettings, optional
    workers : int
        For the comparison.

    Returns
    -------
    dict
        The release's manifest.

    Raises
    ------
    GateError
        If a limit is not kept, with the worst offenders; nothing is published.
    ReleaseError
        If the name is taken or impossible, catalogues do not belong together, or `current` is lost.
    FileNotFoundError
        If a catalogue is not sealed.
    """
    releases = Releases(content.run)
    folder = releases.folder(name)
    with releases.committing():
        opened = {each: open_catalogue(content.run / CATALOGUES / each) for each in content.catalogues}
        if folder.exists():
            manifest = _unfinished(releases, name, opened)
        else:
            _check_together({each: opened[each] for each in opened if each not in content.segmenters})
            compare = partial(_diffs, opened, content, releases, page, compute, workers)
            manifest = _make(content, name, opened, gate, override, compare)
        releases.point(name)
        told = {"previous": manifest["previous"], "override": manifest["gate"]["override"]}
        releases.note("published", time=manifest["time"], **told)
    return manifest


def rollback(run: str | Path, name: str | None = None, *, reason: str = "") -> str:
    """Make an earlier release, or any other, the current one; nothing is deleted, so one can go forward again.

    Parameters
    ----------
    run : Path
    name : str, optional
        Default: the one that was current when the current one was published.
    reason : str
        Noted in the history.

    Returns
    -------
    str
        The release that is current now.

    Raises
    ------
    ReleaseError
        If there is none to go back to, or a version of it is gone.
    """
    releases = Releases(Path(run))
    with releases.committing():
        before = releases.current
        if name is None:
            name = None if before is None else releases.read(before)["previous"]
        if name is None:
            known = ", ".join(releases.names()) or "none"
            raise ReleaseError(f"{releases.root}: no earlier release to go back to; name one of: {known}")
        for each, told in releases.read(name)["catalogues"].items():
            found = open_catalogue(releases.folder(name) / CATALOGUES / each).version
            if found != told["version"]:
                raise ReleaseError(f"release '{name}': {each} is of version {found}, was {told['version']}")
        releases.point(name)
        releases.note("rolled back" if name != before else "kept", previous=before, reason=reason)
    return name


def _make(
    content: Content,
    name: str,
    opened: Mapping[str, Catalogue],
    gate: GateSettings,
    override: Override | None,
    compare: Callable[[Path], Iterator[tuple[str, dict[str, Any]]]],
) -> dict[str, Any]:
    """Write the folder of a release, which has its name when it is whole; give its manifest."""
    releases = Releases(content.run)
    previous, time = releases.used, datetime.now(UTC).isoformat(timespec="seconds")
    with staged_folder(releases.folder(name), staging=releases.root / STAGING) as staging:
        _link(releases, name, opened, staging)
        _copy(content, staging)
        diffs = dict(compare(staging))
        verdicts = judge(_facts(opened, content, diffs), gate)
        _refuse(verdicts, override)
        told = _gate(verdicts, override)
        (staging / GATE).write_bytes(to_document(told))
        files = _digests(inventory(staging)[0])
        files |= _digests(_document(content, releases, staging, opened, name, previous, time, files))
        manifest = {
            "skymill_format": FORMAT,
            "release": name,
            "previous": previous,
            "time": time,
            "catalogues": {each: _described(catalogue) for each, catalogue in opened.items()},
            "configuration": dict(content.configuration),
            "gate": told,
            "files": files,
            "made_with": made_with(),
        }
        (staging / MANIFEST).write_bytes(to_document(manifest))
        for path in inventory(staging)[0].values():
            path.chmod(0o444)
    return manifest


def _unfinished(releases: Releases, name: str, opened: Mapping[str, Catalogue]) -> dict[str, Any]:
    """Give the manifest of a release whose author did not live to make it the current one; refuse any other."""
    if (since := releases.published().get(name)) is not None:
        raise ReleaseError(f"release '{name}': it is there since {since}; choose another name")
    manifest = releases.read(name)
    held = {each: told["version"] for each, told in manifest["catalogues"].items()}
    now = {each: catalogue.version for each, catalogue in opened.items()}
    if (held, manifest["previous"]) != (now, releases.current):
        raise ReleaseError(
            f"release '{name}': it was made on {manifest['time']} of other versions, or when another release was "
            f"current, and never became current itself; choose another name, or have it as it is: "
            f"`skymill release rollback {name}`"
        )
    logger.info("release %s stands there, whole: it only has to become the current one", name)
    return manifest


def _check_together(opened: Mapping[str, Catalogue]) -> None:
    """Every catalogue of a run accounts for every row of the survey, so all have the same sum."""
    sums = {name: catalogue.manifest["accounting"]["n_in"] for name, catalogue in opened.items()}
    if len(set(sums.values())) > 1:
        told = ", ".join(f"{name} {n:,}" for name, n in sums.items())
        raise ReleaseError(f"the catalogues do not account for the same rows ({told}); run snakemake to its end first")


def _link(releases: Releases, name: str, opened: Mapping[str, Catalogue], staging: Path) -> None:
    (staging / CATALOGUES).mkdir()
    for each, catalogue in opened.items():
        (staging / CATALOGUES / each).symlink_to(releases.link(name, each, catalogue.version))


def _copy(content: Content, staging: Path) -> None:
    """Copy what is small: models with their cards and metrics, and the report."""
    for segmenter in content.segmenters:
        target = staging / "models" / segmenter
        _copy_folder(content.run / "models" / segmenter, target)
        fit = json.loads((target / MANIFEST).read_text())["fit"]
        shutil.copy(content.run / "training" / segmenter / fit / "metrics.json", target)
    for model in content.models:
        target = staging / "models" / model
        _copy_folder(content.run / "models" / model, target)
        fit = json.loads((content.run / "models" / model / MANIFEST).read_text()).get("fit")
        if fit is None:
            continue
        shutil.copy(content.run / "training" / model / fit / "metrics.json", target)
        told = content.run / "training" / "shift" / model
        if not told.is_dir():  # of models that give no classes: the survey is not compared with their rows
            shutil.copy(content.run / "training" / model / fit / "card.md", target)
            continue
        for name in ("card.md", "shift.json"):
            shutil.copy(told / name, target)
    _copy_folder(content.run / "report", staging / "report")


def _copy_folder(source: Path, target: Path) -> None:
    """Copy the files of a folder, but not what is being written there; nothing where it is not there."""
    for path in sorted(source.rglob("*")):
        place = target / path.relative_to(source)
        if path.is_file() and STAGING not in place.relative_to(target).parts:
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, place)


def _diffs(
    opened: Mapping[str, Catalogue],
    content: Content,
    releases: Releases,
    page: Callable[[Mapping[str, Any], Path], Path],
    compute: ComputeSettings | None,
    workers: int,
    staging: Path,
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Compare each model's catalogue with that of the current release, where it has one."""
    if releases.current is None:
        return
    before = releases.folder(releases.current) / CATALOGUES
    features = before / "features", content.run / CATALOGUES / "features"
    for model in content.models:
        if not (before / model).exists() or not is_comparable(opened[model]):
            continue
        folder = staging / "diff" / model
        told = diff(
            (before / model).resolve(),
            opened[model].location,
            folder,
            features=tuple(str(path.resolve()) if path.exists() else "" for path in features),  # type: ignore[arg-type]
            magnitude=content.magnitude,
            compute=compute,
            workers=workers,
        )
        page(told, folder)
        for left in folder.rglob(STAGING):
            shutil.rmtree(left)
        yield model, told


def _facts(
    opened: Mapping[str, Catalogue], content: Content, diffs: Mapping[str, Mapping[str, Any]]
) -> Iterator[Facts]:
    for name, catalogue in opened.items():
        folder = content.run / "training"
        manifest = content.run / "models" / name / MANIFEST
        model = json.loads(manifest.read_text()) if name in content.models else {}
        fit, shift = model.get("fit"), folder / "shift" / name / "shift.json"
        # A limit on rows is one on tiles of the sky, which are cut to hold so many; an image holds what it holds.
        places = catalogue.places if catalogue.kind is SKY else ()
        yield Facts(
            name,
            catalogue.manifest["accounting"],
            [(str(tile), n_rows) for tile, n_rows in zip(places, catalogue.tiles["n_rows"].tolist())],
            None if fit is None else json.loads((folder / name / fit / "metrics.json").read_text()),
            None if not shift.is_file() else json.loads(shift.read_text()),
            diffs.get(name),
            model.get("parity"),
        )


def _document(
    content: Content,
    releases: Releases,
    staging: Path,
    opened: Mapping[str, Catalogue],
    release: str,
    previous: str | None,
    time: str,
    files: Mapping[str, str],
) -> dict[str, Path]:
    """Write the documents that the release describes itself with; give them by name."""
    known = documents.Facts(
        release,
        time,
        survey=str(content.configuration.get("name", content.run.name)),
        previous=previous or "",
        previous_doi=documents.doi_of(releases.folder(previous)) if previous else "",
        citation=content.citation,
        tables=content.tables,
        files=files,
        made_with=made_with(),
    )
    models = {model: json.loads((content.run / "models" / model / MANIFEST).read_text()) for model in content.models}
    facts = documents.gather(known, run=content.run, folder=staging, opened=opened, models=models)
    return documents.write(facts, staging)


def _refuse(verdicts: Sequence[Verdict], override: Override | None) -> None:
    broken = [verdict for verdict in verdicts if not verdict.kept]
    if broken and override is None:
        raise GateError(broken)
    for verdict in broken:
        logger.warning("gate, overridden: %s", verdict)


def _gate(verdicts: Sequence[Verdict], override: Override | None) -> dict[str, Any]:
    kept = all(verdict.kept for verdict in verdicts)
    by = None if kept or override is None else {"reason": override.reason, "author": override.author}
    return {"kept": kept, "rules": [verdict.as_dict() for verdict in verdicts], "override": by}


def _described(catalogue: Catalogue) -> dict[str, Any]:
    return {
        "version": catalogue.version,
        "settings": catalogue.manifest["settings"],
        "n_rows": catalogue.n_rows,
        "n_tiles": len(catalogue.tiles),
        "accounting": catalogue.manifest["accounting"],
        **catalogue.kind.content(),
    }


def _digests(files: Mapping[str, Path]) -> dict[str, str]:
    return {name: file_sha256(path) for name, path in sorted(files.items())}

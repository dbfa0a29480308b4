"""Publishing a run as a release, and going back to an earlier one."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from skymill.config import ComputeSettings
from skymill.config.run import GateSettings
from skymill.release.diffing import diff
from skymill.release.folder import (
    CATALOGUES,
    FORMAT,
    MANIFEST,
    STAGING,
    ReleaseError,
    Releases,
    own_files,
    version_link,
)
from skymill.release.gate import Facts, Verdict, judge
from skymill.store import Catalogue, file_sha256, made_with, open_catalogue
from skymill.store.document import to_document
from skymill.store.durable import staged_folder

GATE = "gate.json"
logger = logging.getLogger(__name__)


class GateError(ReleaseError):
    """A run is not within its limits."""


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
    """

    run: Path
    catalogues: Sequence[str]
    models: Sequence[str]
    configuration: Mapping[str, Any] = field(default_factory=dict)
    magnitude: str = ""


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

    Nothing that was published before is touched, and until the last rename everybody sees the release before.

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
        If the name is taken or impossible, or catalogues do not belong together.
    FileNotFoundError
        If a catalogue is not sealed.
    """
    releases = Releases(content.run)
    folder = releases.folder(name)
    with releases.committing():
        if folder.exists():
            raise ReleaseError(f"release '{name}': it is there since {_published(releases, name)}; choose another name")
        opened = {each: open_catalogue(content.run / CATALOGUES / each) for each in content.catalogues}
        _check_together(opened)
        previous = releases.current
        with staged_folder(folder, staging=releases.root / STAGING) as staging:
            _link(opened, staging)
            _copy(content, staging)
            diffs = dict(_diffs(opened, content, releases, staging, page, compute, workers))
            verdicts = judge(_facts(opened, content, diffs), gate)
            _refuse(verdicts, override)
            told = _gate(verdicts, override)
            (staging / GATE).write_bytes(to_document(told))
            manifest = {
                "skymill_format": FORMAT,
                "release": name,
                "previous": previous,
                "catalogues": {each: _described(catalogue) for each, catalogue in opened.items()},
                "configuration": dict(content.configuration),
                "gate": told,
                "files": _digests(staging),
                "made_with": made_with(),
            }
            (staging / MANIFEST).write_bytes(to_document(manifest))
            for path in own_files(staging):
                path.chmod(0o444)
        releases.point(name)
        releases.note("published", previous=previous, override=told["override"])
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


def _published(releases: Releases, name: str) -> str:
    return next(
        (line["time"] for line in releases.history() if line["action"] == "published" and line["current"] == name),
        "an unknown time",
    )


def _check_together(opened: Mapping[str, Catalogue]) -> None:
    """Every catalogue of a run accounts for every row of the survey, so all have the same sum."""
    sums = {name: catalogue.manifest["accounting"]["n_in"] for name, catalogue in opened.items()}
    if len(set(sums.values())) > 1:
        told = ", ".join(f"{name} {n:,}" for name, n in sums.items())
        raise ReleaseError(f"the catalogues do not account for the same rows ({told}); run snakemake to its end first")


def _link(opened: Mapping[str, Catalogue], staging: Path) -> None:
    (staging / CATALOGUES).mkdir()
    for name, catalogue in opened.items():
        (staging / CATALOGUES / name).symlink_to(version_link(name, catalogue.version))


def _copy(content: Content, staging: Path) -> None:
    """Copy what is small: models with their cards and metrics, and the report."""
    for model in content.models:
        shutil.copytree(content.run / "models" / model, staging / "models" / model)
        fit = json.loads((content.run / "models" / model / MANIFEST).read_text()).get("fit")
        if fit is None:
            continue
        shutil.copy(content.run / "training" / model / fit / "metrics.json", staging / "models" / model)
        for name in ("card.md", "shift.json"):
            shutil.copy(content.run / "training" / "shift" / model / name, staging / "models" / model)
    if (content.run / "report").is_dir():
        shutil.copytree(content.run / "report", staging / "report", ignore=shutil.ignore_patterns(STAGING))


def _diffs(
    opened: Mapping[str, Catalogue],
    content: Content,
    releases: Releases,
    staging: Path,
    page: Callable[[Mapping[str, Any], Path], Path],
    compute: ComputeSettings | None,
    workers: int,
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Compare each model's catalogue with that of the current release, where it has one."""
    if releases.current is None:
        return
    before = releases.folder(releases.current) / CATALOGUES
    features = before / "features", content.run / CATALOGUES / "features"
    for model in content.models:
        if not (before / model).exists():
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
        fit = json.loads(manifest.read_text()).get("fit") if name in content.models else None
        tiles = zip(*(catalogue.tiles[column].tolist() for column in ("order", "pixel", "n_rows")))
        yield Facts(
            name,
            catalogue.manifest["accounting"],
            [(f"Norder={order}/Npix={pixel}", n_rows) for order, pixel, n_rows in tiles],
            None if fit is None else json.loads((folder / name / fit / "metrics.json").read_text()),
            None if fit is None else json.loads((folder / "shift" / name / "shift.json").read_text()),
            diffs.get(name),
        )


def _refuse(verdicts: Sequence[Verdict], override: Override | None) -> None:
    broken = [verdict for verdict in verdicts if not verdict.kept]
    if broken and override is None:
        lines = "\n".join(f"  {verdict}" for verdict in broken)
        raise GateError(f"the gate refuses (release.gate of the run's file):\n{lines}")
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
    }


def _digests(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): file_sha256(path) for path in own_files(folder)}

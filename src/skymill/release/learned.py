"""Which fits, training sets and ONNX files of a run nothing names any more, and deleting them."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from skymill.release.folder import MANIFEST, Releases
from skymill.store import StoreError, short
from skymill.store.document import read_checked
from skymill.store.durable import discard, remove_empty_folders
from skymill.store.paths import STAGING
from skymill.store.pruning import NOTHING, YOUNG, Share, Shares, split_by_age
from skymill.store.trouble import explained

TRAINING, SETS, SHIFT, MODELS, SET = "training", "sets", "shift", "models", "set.json"
FIT_NAME = re.compile("[0-9a-f]{12}")
Fit = tuple[str, str]
"""Name of a model, and of a fit of it."""


@dataclass(frozen=True)
class Learned(Shares):
    """What of fits, training sets and ONNX files stays and what goes.

    Attributes
    ----------
    why : mapping
        Of each fit that stays, as `model/fit`: who keeps it.
    fits, training_sets, onnx_files : Share
    refused : str
        Why nothing of it is deleted: something that names fits, sets or files cannot be read. Else empty.
    """

    KINDS = ("fits", "training_sets", "onnx_files")
    why: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    fits: Share = NOTHING
    training_sets: Share = NOTHING
    onnx_files: Share = NOTHING
    refused: str = ""


def find_unused(run: Path, asked: Collection[Fit] | None, releases: Sequence[str], before: float) -> Learned:
    """Find fits, training sets and ONNX files that nothing names.

    A fit is named by the configuration, by a model that was exported from it, here or in a release, or by an ensemble
    that stays; a training set by `training/set.json` or by a fit that stays; an ONNX file by its model's manifest.

    Parameters
    ----------
    run : Path
        The run's folder.
    asked : collection of (str, str), or None
        Models and their fits that the configuration asks for; None where that cannot be told, and then all stay.
    releases : sequence of str
    before : float
        Unix time; what was written to later stays.

    Returns
    -------
    Learned
    """
    standing = _standing_fits(run)
    try:
        named = _named_fits(run, standing if asked is None else asked, releases)
        young, _ = split_by_age((path for fit, path in standing.items() if fit not in named), before)
        for path in young:
            named[path.parent.name, path.name] = [YOUNG]
        told = _follow_members(standing, named)
        kept_sets = _named_sets(run, told)
        kept_files = _named_files(run)
    except (StoreError, KeyError) as error:
        return Learned(refused=f"{error}; no fit, training set or ONNX file is deleted")
    why = {"/".join(fit): tuple(named[fit]) for fit in standing if fit in named}
    return Learned(
        why,
        _share(standing.values(), {path for fit, path in standing.items() if fit in named}, before),
        _share((run / TRAINING / SETS).glob("*.parquet"), kept_sets, before),
        _share((run / MODELS).glob("*/*.onnx"), kept_files, before),
    )


def forget(run: Path, found: Learned) -> None:
    """Delete fits, then training sets and ONNX files, then empty folders.

    Raises
    ------
    TroubleError
        If the disk refuses: with what to do about it.
    """
    if found.refused:
        return
    for fit in found.fits.deleted:
        discard(fit.path, staging=run / TRAINING / STAGING)
    with explained(run, "deleting"):
        for item in (*found.training_sets.deleted, *found.onnx_files.deleted):
            item.path.unlink()
        remove_empty_folders(run / TRAINING)


def _standing_fits(run: Path) -> dict[Fit, Path]:
    """Find every fit, finished or not."""
    folders = sorted(path for path in (run / TRAINING).glob("*/*") if FIT_NAME.fullmatch(path.name) and path.is_dir())
    return {(path.parent.name, path.name): path for path in folders if path.parent.name not in (SETS, SHIFT)}


def _named_fits(run: Path, asked: Iterable[Fit], releases: Iterable[str]) -> dict[Fit, list[str]]:
    """Give the fits that configuration and models name, and what names each."""
    named: dict[Fit, list[str]] = {fit: ["asked for"] for fit in asked}
    places = {"exported": run, **{f"release {name}": Releases(run).folder(name) for name in releases}}
    for what, folder in places.items():
        for manifest in sorted((folder / MODELS).glob(f"*/{MANIFEST}")):
            fit = read_checked(manifest).get("fit")
            if fit is not None:  # a model from elsewhere was not fitted here
                named.setdefault((manifest.parent.name, fit), []).append(what)
    return named


def _follow_members(standing: Mapping[Fit, Path], named: dict[Fit, list[str]]) -> list[dict[str, Any]]:
    """Name the members of every ensemble that is named; give the manifests of all that are finished."""
    told, todo = [], list(named)
    while todo:
        fit = todo.pop()
        manifest = standing[fit] / MANIFEST if fit in standing else None
        if manifest is None or not manifest.is_file():
            continue
        told.append(read_checked(manifest))
        members = {other for other in standing if other[1] in told[-1].get("members", ())}
        todo += sorted(members - named.keys())
        for member in members:
            named.setdefault(member, []).append(f"member of {'/'.join(fit)}")
    return told


def _named_sets(run: Path, fits: Iterable[Mapping[str, Any]]) -> set[Path]:
    """Give the training sets that stay; all while it is not known which one is asked for."""
    sets = run / TRAINING / SETS
    if not (run / TRAINING / SET).is_file():
        return set(sets.glob("*.parquet"))
    current = run / TRAINING / read_checked(run / TRAINING / SET)["file"]
    return {current, *(sets / f"{short(fit['training_set'])}.parquet" for fit in fits if "training_set" in fit)}


def _named_files(run: Path) -> set[Path]:
    """Give the ONNX files that stay; all of a model while it is not known which one is asked for."""
    named: set[Path] = set()
    for model in (run / MODELS).glob("*"):
        manifest = model / MANIFEST
        names = read_checked(manifest)["files"] if manifest.is_file() else [path.name for path in model.glob("*.onnx")]
        named |= {model / name for name in names}
    return named


def _share(standing: Iterable[Path], named: Collection[Path], before: float) -> Share:
    """Tell what is named, or young, from what goes."""
    paths = sorted(standing)
    _, garbage = split_by_age((path for path in paths if path not in named), before)
    return Share(len(paths) - len(garbage), garbage)

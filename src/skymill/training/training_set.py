"""The entry of checkpoint `training_set`: labels joined to features, split by sky, audited, written by content."""

from __future__ import annotations

import hashlib
import io
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from skymill.config import LabelSettings, RunConfig, SplitSettings
from skymill.config.votes import answer_names
from skymill.features import magnitude_feature
from skymill.sky import at_order
from skymill.store.document import to_document
from skymill.store.durable import write_bytes
from skymill.store.keys import file_sha256, short
from skymill.survey import Labels, Survey, check_classes, read_labels
from skymill.training.arrays import METADATA, TARGET, VOTE, TrainingSetError
from skymill.training.audit import check_splits
from skymill.training.join import FeatureTiles, Joined, join
from skymill.training.labels import OUTCOMES
from skymill.training.leaks import find_suspects
from skymill.training.split import GUARD, SPLITS, TEST, TRAIN, VALIDATION, split_of_positions
from skymill.training.two_sample import tell_apart

if TYPE_CHECKING:
    from skymill.features.stamps import SourceImages

logger = logging.getLogger(__name__)
FORMAT = 1
MEASURED = ("photometric", "shape")


@dataclass(frozen=True)
class Examples:
    """Labelled sources, sorted by (`_healpix_29`, `objectId`)."""

    object_id: NDArray[np.int64]
    healpix29: NDArray[np.int64]
    ra: NDArray[np.float64]
    dec: NDArray[np.float64]
    features: NDArray[np.float32]
    label: NDArray[np.int8]
    split: NDArray[np.int8]
    targets: NDArray[np.float32]
    """(n, t); NaN where not known."""
    votes: NDArray[np.float32]
    """(n, answers); 0 where nobody was asked."""

    def __len__(self) -> int:
        return len(self.label)

    def take(self, rows: NDArray[Any]) -> Examples:
        """Some of the rows."""
        return Examples(**{name: values[rows] for name, values in vars(self).items()})


def make_set(
    run: RunConfig,
    survey: Survey,
    feature_manifests: Sequence[str | Path],
    output: str | Path,
    *,
    images: SourceImages | None = None,
) -> Path:
    """Make the training set of a run.

    Parameters
    ----------
    run : RunConfig
        Its `labels`, `split` and `features`.
    survey : Survey
    feature_manifests : sequence of Path
        The manifests of all groups of the feature catalogue.
    output : Path
        Folder of everything the run writes.
    images : SourceImages, optional
        Where a model looks at pixels: the digest of the images that the labelled sources lie on is then noted.

    Returns
    -------
    Path
        ``training/set.json``, which names ``training/sets/{set12}.parquet``. The Parquet file
        depends on the labelled sources alone: new sky without labels leaves its name and bytes as they are.

    Raises
    ------
    TrainingSetError
        If no label matched, all are of one class, or a split lacks a class; with counts and what to do.
    TableError
        If the label table cannot be read, or a class has no row in it.
    """
    if run.labels is None:
        raise TrainingSetError(f"run '{run.name}': labels: needed to make a training set; add the block `labels`")
    output = Path(output)
    labels = read_labels(run.labels, survey.config, cache=survey.cache)
    tiles = FeatureTiles.of_manifests(feature_manifests)
    joined = join(labels, tiles, run.labels, survey_epoch=survey.config.epoch)
    counts = _label_counts(labels, joined)
    _check_joined(labels, joined, tiles, run.labels, counts)

    matched = _examples(joined, labels, run.split)
    measured = _measured(matched.features, tiles.features)
    examples = matched.take(measured & (matched.split != GUARD))
    guarded = measured & (matched.split == GUARD)
    rows = _row_counts(examples, run.labels.classes)
    _check_classes(rows, guarded, matched, run.split, run.labels.classes)

    suspects, explained = _suspects(examples, tiles)
    metadata = {
        "format": FORMAT,
        "task": "classification",
        "classes": run.labels.classes,
        "features": tiles.features,
        "split": run.split.model_dump(mode="json"),
        "rows": rows,
        "suspects": suspects,
        **({"targets": run.labels.targets} if run.labels.targets else {}),
        **({"votes": {name: list(own) for name, own in run.labels.votes.items()}} if run.labels.votes else {}),
    }
    content = _parquet(examples, _magnitude(examples, tiles, survey.config.bands), tiles, metadata)
    path = _store(content, output / "training" / "sets")
    described = {
        "set": path.stem,
        "file": f"sets/{path.name}",
        "sha256": file_sha256(path),
        "files": {f"sets/{path.name}": file_sha256(path)},
        **metadata,
        "labels": {**counts, "other_classes": dict(labels.other_classes), "digest": labels.digest},
        "sources": {
            "matched": len(matched),
            "used": len(examples),
            "guard": int(guarded.sum()),
            "unmeasured": int((~measured).sum()),
        },
        "audit": {**_audit(examples, tiles, run), "suspects": suspects, "explained": explained},
        **({"images": images.digest(images.numbers(examples.object_id).tolist())} if images else {}),
        "inputs": {Path(manifest).stem: file_sha256(manifest) for manifest in feature_manifests},
    }
    target = output / "training" / "set.json"
    write_bytes(target, to_document(described))
    return target


def _label_counts(labels: Labels, joined: Joined) -> dict[str, int]:
    """Every row of the label table under one outcome; checked to close."""
    outcomes = np.bincount(joined.outcome, minlength=len(OUTCOMES))
    reasons = {name: count for name, count in labels.counts.items() if name not in ("rows", "used", *joined.notes)}
    counts = {"rows": labels.counts["rows"], **dict(zip(OUTCOMES, outcomes.tolist())), **reasons}
    total = sum(count for name, count in counts.items() if name != "rows")
    if total != counts["rows"]:
        raise TrainingSetError(f"labels: expected every row under one outcome, found {counts}; please report it")
    return counts


def _check_joined(
    labels: Labels, joined: Joined, tiles: FeatureTiles, settings: LabelSettings, counts: dict[str, int]
) -> None:
    table = settings.path or "the simulated survey's labels"
    told = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
    check_classes(labels, settings)
    if len(joined.label) == 0:
        raise TrainingSetError(f"{table}: no label matched any of {tiles.n_rows} sources ({told}); {joined.hint}")
    present = np.unique(labels.label[joined.label])
    if len(present) < 2:
        raise TrainingSetError(
            f"{table}: expected matched labels of at least two classes, found "
            f"{len(joined.label)} of {present[0]} only ({told}); rows of classes not asked for: "
            f"{dict(labels.other_classes)}; see labels.classes and labels.column"
        )


def _examples(joined: Joined, labels: Labels, split: SplitSettings) -> Examples:
    order = np.lexsort((joined.object_id, joined.healpix29))
    ra, dec = joined.ra[order], joined.dec[order]
    nothing = np.empty((len(labels), 0), np.float32)
    targets, votes = (np.column_stack([nothing, *each.values()]) for each in (labels.targets, labels.votes))
    splits = split_of_positions(
        ra,
        dec,
        order=split.order,
        seed=split.seed,
        validation=split.validation,
        test=split.test,
        guard_arcsec=split.guard_arcsec,
    )
    return Examples(
        object_id=joined.object_id[order],
        healpix29=joined.healpix29[order],
        ra=ra,
        dec=dec,
        features=joined.features[order],
        label=joined.classes[order],
        split=splits,
        targets=targets[joined.label[order]],
        votes=votes[joined.label[order]],
    )


def _measured(features: NDArray[np.float32], described: list[dict[str, Any]]) -> NDArray[np.bool_]:
    """Rows with a feature measured from fluxes or shapes, or where there are none, a column of the survey's own."""
    groups = [feature["group"] for feature in described]
    columns = [number for number, group in enumerate(groups) if group in MEASURED]
    columns = columns or [number for number, group in enumerate(groups) if group == "value"]
    return np.asarray(np.isfinite(features[:, columns]).any(axis=1))


def _row_counts(examples: Examples, classes: list[str]) -> dict[str, dict[str, int]]:
    return {
        name: dict(zip(classes, np.bincount(examples.label[examples.split == number], minlength=len(classes)).tolist()))
        for number, name in enumerate(SPLITS)
    }


def _check_classes(
    rows: dict[str, dict[str, int]],
    guarded: NDArray[np.bool_],
    matched: Examples,
    split: SplitSettings,
    classes: list[str],
) -> None:
    absent = [f"{name} of {where}" for where, counts in rows.items() for name, count in counts.items() if count == 0]
    if not absent:
        return
    blocks = len(np.unique(at_order(matched.healpix29, split.order)))
    raise TrainingSetError(
        f"split: expected every class in every split, missing {', '.join(absent)} (rows: {rows}, "
        f"{int(guarded.sum())} in the guard band, {blocks} blocks of order {split.order} hold labels); raise "
        "split.order for smaller blocks, change split.seed, or drop a class that is too rare from labels.classes"
    )


def _magnitude(examples: Examples, tiles: FeatureTiles, bands: list[str]) -> NDArray[np.float32]:
    """The magnitude that results are binned by; NaN where the survey has none."""
    name = magnitude_feature(bands)
    names = tiles.names
    return examples.features[:, names.index(name)] if name in names else np.full(len(examples), np.nan, np.float32)


def _suspects(examples: Examples, tiles: FeatureTiles) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """Features that tell the class too well, and how much of it each explains alone; from the train split."""
    train = examples.split == TRAIN
    suspects, explained = find_suspects(examples.features[train], tiles.features, examples.label[train])
    found = [suspect.as_dict() for suspect in suspects]
    for suspect in found:
        logger.warning(
            "leakage audit: feature '%(name)s' is suspected (%(reason)s, explains %(score).2f alone)", suspect
        )
    return found, explained


def _audit(examples: Examples, tiles: FeatureTiles, run: RunConfig) -> dict[str, Any]:
    """What the splits share: ids, close pairs, and how well train and test can be told apart."""
    shared = check_splits(
        examples.object_id, examples.ra, examples.dec, examples.split, guard_arcsec=run.split.guard_arcsec
    )
    return {**shared, "train_against_test": _shift(examples, tiles, run)}


def _shift(examples: Examples, tiles: FeatureTiles, run: RunConfig) -> dict[str, Any]:
    columns = [number for number, feature in enumerate(tiles.features) if feature["group"] in MEASURED]
    judged = examples.take(examples.split != VALIDATION)
    if not columns:
        return {}
    shift = tell_apart(
        judged.features[:, columns], judged.split == TEST, at_order(judged.healpix29, run.split.order), seed=run.seed
    )
    if shift is None:
        logger.warning(
            "leakage audit: too few blocks of sky to tell whether train and test are alike; a higher split.order makes "
            "more of them"
        )
        return {}
    if not shift.near_chance:
        logger.warning(
            "leakage audit: train and test can be told apart (AUC %.3f, chance %.3f +- %.3f): their "
            "sky differs, for example in depth; more and smaller blocks (split.order) mix it better",
            shift.auc,
            shift.expected,
            shift.sigma,
        )
    return {**vars(shift), "near_chance": shift.near_chance}


def _parquet(
    examples: Examples, magnitude: NDArray[np.float32], tiles: FeatureTiles, metadata: dict[str, Any]
) -> bytes:
    columns: dict[str, Any] = {
        "objectId": examples.object_id,
        "_healpix_29": examples.healpix29,
        "coord_ra": examples.ra,
        "coord_dec": examples.dec,
        "label": examples.label,
        "split": pa.array(np.array(SPLITS)[examples.split], pa.string()),
        "magnitude": magnitude,
    }
    taken = [name for name in tiles.names if name in columns]
    if taken:
        raise TrainingSetError(
            f"survey.values: {', '.join(taken)}: the training set has a column of that name; rename it"
        )
    for before, names, values in (
        (TARGET, metadata.get("targets", []), examples.targets),
        (VOTE, answer_names(metadata.get("votes", {})), examples.votes),
        ("", tiles.names, examples.features),
    ):
        columns |= {before + name: np.ascontiguousarray(values[:, number]) for number, name in enumerate(names)}
    text = json.dumps(metadata, sort_keys=True, ensure_ascii=False, allow_nan=False)
    table = pa.table(columns).replace_schema_metadata({METADATA: text.encode()})
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()


def _store(content: bytes, folder: Path) -> Path:
    """Write a set under the digest of its bytes; one that stands there is left, or models would be refitted."""
    sha256 = hashlib.sha256(content).hexdigest()
    path = folder / f"{short(sha256)}.parquet"
    if not path.is_file() or file_sha256(path) != sha256:
        write_bytes(path, content)
    return path

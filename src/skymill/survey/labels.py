"""Tables of true classes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from skymill.config.run import LabelSettings
from skymill.config.survey import AngleColumn, IdColumn, SurveyConfig
from skymill.config.votes import answer_names
from skymill.survey import embedded, inventory, readers
from skymill.survey.angles import degrees, positions
from skymill.survey.columns import Columns, Role, as_read, check_columns, id_roles, names, plain
from skymill.survey.errors import TableError
from skymill.survey.flux import cleaned
from skymill.survey.gate import first_reason
from skymill.survey.ids import object_ids, texts, without_text

SHOWN_CLASSES = 20
TARGET, VOTE = "target ", "vote "
"""Before the names of targets and of answers while a block's columns stand side by side."""


@dataclass(frozen=True)
class Labels:
    """Rows of a label table whose class is one of those asked for; the others are counted."""

    row: NDArray[np.int64]  # (n,) row number in the label table, files in order
    label: NDArray[np.str_]  # (n,) class, one of LabelSettings.classes
    object_id: NDArray[np.int64] | None  # (n,) for match "id"
    ra: NDArray[np.float64] | None  # (n,) deg, for match "sky"
    dec: NDArray[np.float64] | None  # (n,)
    pm_ra: NDArray[np.float64] | None  # (n,) mas/yr, mu_alpha cos(delta), where declared; 0 where not measured
    pm_dec: NDArray[np.float64] | None  # (n,)
    counts: Mapping[str, int]
    """`rows` = `used` + `no_class` + `other_class` + one entry per reason of `REASONS`; beside them `pm_ra_missing`,
    `pm_dec_missing`: used rows whose proper motion was taken as 0."""
    other_classes: Mapping[str, int]
    """Rows of each class that is not asked for."""
    digest: str
    """Of the bytes of the table's files."""
    targets: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    """By name: columns of `LabelSettings.targets`, (n,), in the units of the table; NaN where it has none."""
    votes: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    """By ``<question>_<answer>``: who gave the answer, (n,); 0 where the table has none."""

    def __len__(self) -> int:
        return len(self.row)


def read_labels(settings: LabelSettings, survey: SurveyConfig, *, cache: Path | None = None) -> Labels:
    """Read a label table block by block through the id, angle and column code of the gate.

    Parameters
    ----------
    settings : LabelSettings
    survey : SurveyConfig
        Whose simulation is meant where the labels are those of the simulated survey.
    cache : Path, optional
        Folder of remembered digests.

    Raises
    ------
    TableError
        If the table cannot be read, or lacks a named column, or one has a type that cannot be used.
    """
    settings = _complete(settings)
    if settings.format == "simulated":
        embedded.check_columns(survey, "targets", settings.targets)
        embedded.check_columns(survey, "votes", list(_votes(settings).values()))
    blocks, digest = _simulated(survey) if settings.format == "simulated" else _table(settings, cache)
    counts: Counter[str] = Counter(rows=0, used=0, no_class=0, other_class=0)
    others: Counter[str] = Counter()
    kept: list[dict[str, NDArray[np.generic]]] = [_usable(_empty(settings), settings, Counter(), Counter())]
    for block in blocks:
        kept.append(_usable(block, settings, counts, others))
    columns = {name: np.concatenate([block[name] for block in kept]) for name in kept[0]}
    return Labels(
        row=columns["row"],
        label=columns["label"],
        **{name: columns.get(name) for name in ("object_id", "ra", "dec", "pm_ra", "pm_dec")},
        counts=dict(counts),
        other_classes=dict(sorted(others.items())),
        digest=digest,
        targets={name: columns[TARGET + name].astype(np.float32) for name in settings.targets},
        votes={name: columns[VOTE + name].astype(np.float32) for name in _votes(settings)},
    )


def check_classes(labels: Labels, settings: LabelSettings) -> None:
    """Make sure that each class asked for has a row that can be used.

    Raises
    ------
    TableError
        Naming the classes without one, and those that the table has.
    """
    absent = sorted(set(settings.classes) - set(labels.label.tolist()))
    if absent:
        found = Counter(labels.label.tolist()) + Counter(labels.other_classes)
        listed = ", ".join(f"{name} ({count:,})" for name, count in found.most_common(SHOWN_CLASSES)) or "none"
        told = ", ".join(f"{count:,} {name}" for name, count in labels.counts.items() if count)
        raise TableError(
            f"{settings.path or 'labels of the simulated survey'}: no row that can be used has the class "
            f"{', '.join(absent)} in column '{settings.column}' ({told}); its classes: {listed}; correct labels.classes"
        )


def labels_digest(settings: LabelSettings, survey: SurveyConfig, *, cache: Path | None = None) -> str:
    """Give `Labels.digest` without reading the table; quick where the files' digests are remembered."""
    return _simulated(survey)[1] if settings.format == "simulated" else _table(settings, cache)[1]


def _complete(settings: LabelSettings) -> LabelSettings:
    """Name the columns of the simulated survey's labels."""
    if settings.format != "simulated":
        return settings
    known = {
        "id": IdColumn(column="objectId"),
        "ra": AngleColumn(column="ra", unit="deg"),
        "dec": AngleColumn(column="dec", unit="deg"),
    }
    return settings.model_copy(update=known)


def _votes(settings: LabelSettings) -> dict[str, str]:
    """Give the column of each ``<question>_<answer>``."""
    columns = [column for answers in settings.votes.values() for column in answers.values()]
    return dict(zip(answer_names(settings.votes), columns, strict=True))


def _roles(settings: LabelSettings) -> list[tuple[str, Role]]:
    numbers = (*settings.targets, *_votes(settings).values())
    roles: list[tuple[str, Role]] = [(settings.column, "class"), *((name, "number") for name in numbers)]
    if settings.match == "id":
        assert settings.id is not None  # the configuration demands it
        return [*roles, *id_roles(settings.id)]
    assert settings.ra is not None and settings.dec is not None
    roles += [(settings.ra.column, "angle"), (settings.dec.column, "angle")]
    return roles + [(name, "number") for name in (settings.pm_ra, settings.pm_dec) if name]


def _keys(settings: LabelSettings) -> str:
    """Where a run's file names the columns of its label table."""
    numbers = "".join(f", labels.{name}" for name in ("targets", "votes") if getattr(settings, name))
    if settings.match == "id":
        return f"labels.column{numbers} or labels.id"
    motions = ", labels.pm_ra or labels.pm_dec" if settings.pm_ra else ""
    return f"labels.column{numbers}, labels.ra or labels.dec{motions}"


def _simulated(survey: SurveyConfig) -> tuple[Iterator[Columns], str]:
    return embedded.label_blocks(survey), embedded.digest(survey)


def _table(settings: LabelSettings, cache: Path | None) -> tuple[Iterator[Columns], str]:
    assert settings.path is not None and settings.format != "simulated"
    files = readers.table_files(settings.path, settings.format)
    digests = inventory.file_digests(files, cache)
    return _blocks(files, settings), inventory.combined_digest(digests)


def _blocks(files: list[readers.TableFile], settings: LabelSettings) -> Iterator[Columns]:
    assert settings.format != "simulated"
    roles = _roles(settings)
    for file in files:
        shape = readers.shape(file, settings.format)
        check_columns(shape.columns, roles, where=file.path, mend=f"correct {_keys(settings)} in the run's file")
        yield from map(plain, readers.read(file, settings.format, as_read(roles), *shape.span))


def _empty(settings: LabelSettings) -> Columns:
    return {name: np.zeros(0, dtype=np.int64) for name in names(_roles(settings))}


def _usable(
    block: Columns, settings: LabelSettings, counts: Counter[str], others: Counter[str]
) -> dict[str, NDArray[np.generic]]:
    """The rows of a block that can be used; `counts` and `others` grow by what it holds."""
    no_class = np.ma.getmaskarray(block[settings.column]) | without_text(np.ma.getdata(block[settings.column]))
    label = np.array(texts(np.ma.getdata(block[settings.column])), dtype=np.str_)
    other = ~no_class & ~np.isin(label, settings.classes)
    columns, failures = _identities(block, settings)
    reason = first_reason(failures, len(label))
    reason[other], reason[no_class] = "other_class", "no_class"
    keep = reason == ""
    row = np.arange(len(label), dtype=np.int64) + counts["rows"]
    counts.update(rows=len(label), used=int(keep.sum()))
    counts.update(reason[~keep].tolist())
    others.update(label[other].tolist())
    for name in ("pm_ra", "pm_dec"):
        if name in columns:
            unknown = np.isnan(columns[name])
            columns[name][unknown] = 0.0
            counts[f"{name}_missing"] += int((unknown & keep).sum())
    numbers = {TARGET + name: cleaned(block[name], []) for name in settings.targets}
    numbers |= {VOTE + name: _counted(block[column], column, settings) for name, column in _votes(settings).items()}
    return {name: values[keep] for name, values in {"row": row, "label": label, **columns, **numbers}.items()}


def _counted(values: NDArray[np.generic], column: str, settings: LabelSettings) -> NDArray[np.float64]:
    """Give votes, 0 where a cell is empty.

    Raises
    ------
    TableError
        If a number is negative.
    """
    votes = np.nan_to_num(cleaned(values, []))
    if (votes < 0).any():
        raise TableError(
            f"{settings.path or 'labels of the simulated survey'}: column '{column}': expected counts of votes, found "
            f"{votes.min():g}; correct the table, leaving cells empty where nobody was asked, or labels.votes"
        )
    return votes


def _identities(
    block: Columns, settings: LabelSettings
) -> tuple[dict[str, NDArray[np.generic]], dict[str, NDArray[np.bool_]]]:
    """What ties a label to a source, and where that fails."""
    if settings.match == "id":
        assert settings.id is not None
        ids, missing, out_of_range = object_ids(block, settings.id)
        return {"object_id": ids}, {"id_missing": missing, "id_out_of_range": out_of_range}
    assert settings.ra is not None and settings.dec is not None
    ra, dec = degrees(block[settings.ra.column], settings.ra), degrees(block[settings.dec.column], settings.dec)
    place = positions(ra, dec)
    columns: dict[str, NDArray[np.generic]] = {"ra": place.ra, "dec": place.dec}
    for name, source in (("pm_ra", settings.pm_ra), ("pm_dec", settings.pm_dec)):
        if source:
            columns[name] = cleaned(block[source], [])
    return columns, {
        "position_missing": place.missing,
        "ra_out_of_range": place.ra_out_of_range,
        "dec_out_of_range": place.dec_out_of_range,
    }


def count_labels(settings: LabelSettings) -> int:
    """Give about the rows of a label table from the headers of its files; 0 where it is simulated."""
    if settings.format == "simulated" or settings.path is None:
        return 0
    files = readers.table_files(settings.path, settings.format)
    return sum(readers.shape(file, settings.format).about_rows for file in files)

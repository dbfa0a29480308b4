"""Sources measured on images, behind the same interface as tables of files: a part is an image tile's table."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from skymill.config import SurveyConfig
from skymill.sky import Tile
from skymill.store import GroupManifest, Pool, open_tile
from skymill.store.variable import IDENTITY
from skymill.survey import Gated, Part, Survey
from skymill.survey.columns import RawColumns
from skymill.survey.gate import gate
from skymill.survey.images.ownership import PRIMARY


@dataclass(frozen=True)
class MeasuredSurvey(Survey):
    """A survey whose sources stand in the tiles of its segmentation catalogue.

    Attributes
    ----------
    manifests : tuple of str
        Of the catalogue's groups.
    """

    manifests: tuple[str, ...] = ()

    def parts(self) -> list[Part]:
        """Give one part per measured image tile."""
        found = []
        for path in self.manifests:
            pool = Pool(Path(path).parents[2])
            for entry in GroupManifest.read(path).tiles:
                if entry.n_rows:
                    file = str(pool.path(entry.tile, entry.key))
                    found.append(Part(str(entry.tile), entry.n_rows, entry.sha256, file, 0, entry.n_rows))
        return found

    def blocks(self, part: Part) -> Iterator[Gated]:
        """Read a part through the gate; what was odd about the measurement joins the gate's own flags."""
        source, row = open_tile(part.file), 0
        names = [str(name) for name in source.arrays["values"].attrs["columns"]]  # type: ignore[union-attr]
        for rows in source.blocks():
            gated = gate(_columns(rows, self.config, names), self.config, part=part.name, first_row=row)
            kept = np.ones(len(rows["flags"]), bool)
            kept[gated.rejected.row - row] = False
            gated.block.flags[:] |= rows["flags"][kept]
            row += len(kept)
            yield gated

    def native_tiles(self) -> list[Tile] | None:
        """Image tiles are no tiles of the sky."""
        return None


def measured(survey: Survey, manifests: list[str]) -> Survey:
    """Give a survey whose sources can be read: itself, or what was measured on its images."""
    if survey.config.images is None:
        return survey
    return MeasuredSurvey(survey.config, survey.part_rows, survey.cache, tuple(manifests))


def _columns(rows: dict[str, NDArray[np.generic]], survey: SurveyConfig, values: list[str]) -> RawColumns:
    """Give the columns that the survey's map names."""
    columns = {name: rows[name] for name in (*IDENTITY, PRIMARY)}
    for name in survey.photometry:
        for index, band in enumerate(survey.bands):
            for column in (name, f"{name}Err"):
                columns[f"{band}_{column}"] = rows[column][:, index]
    for index, name in enumerate(values):
        columns[name] = rows["values"][:, index]
    return columns

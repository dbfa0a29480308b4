"""A survey: its input cut into parts, each read block by block through the gate."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import cast

from skymill.config.survey import SurveyConfig, TableFormat
from skymill.sky import Tile
from skymill.survey import embedded, inventory, readers
from skymill.survey.blocks import Gated, Part, SourceSchema
from skymill.survey.columns import RawColumns, as_read, check_columns, source_roles
from skymill.survey.errors import TableError
from skymill.survey.gate import gate, gate_part
from skymill.survey.measurements import source_schema
from skymill.survey.readers import TableFile

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Survey:
    """The sources of a survey; small and picklable, for it holds no data. Made by `open_survey`."""

    config: SurveyConfig
    part_rows: int
    cache: Path | None = None

    @cached_property
    def schema(self) -> SourceSchema:
        """Names and units of what a block holds."""
        return source_schema(self.config)

    def parts(self) -> list[Part]:
        """Cut the input into parts of about `part_rows` rows; every file's header is read and its columns checked.

        Raises
        ------
        TableError
            If a file cannot be read, or does not hold the mapped columns in usable types.
        """
        if self.config.format == "simulated":
            return embedded.parts(self.config)
        if self.config.images is not None:
            raise TableError(
                f"{self.config.where}: its sources are known once its images are measured, "
                "which `snakemake <output>/tiling/plan.json` does"
            )
        files = self.files()
        self._tell_of_nested(files)
        digests = inventory.file_digests(files, self.cache)
        return [part for file, digest in zip(files, digests, strict=True) for part in self._parts_of(file, digest)]

    def first_rows(self, n_rows: int) -> Iterator[Gated]:
        """Read the first rows, in the order of the files, through the gate; no file is hashed, none read further.

        Raises
        ------
        TableError
            If a file cannot be read, or does not hold the mapped columns in usable types.
        """
        for name, tile, blocks in self._opened():
            for block in blocks:
                some = {column: values[:n_rows] for column, values in block.items()}
                gated = gate(some, self.config, part=name, tile=tile)
                n_rows -= len(gated.block) + len(gated.rejected)
                yield gated
                if n_rows <= 0:
                    return

    def _opened(self) -> Iterator[tuple[str, Tile | None, Iterator[RawColumns]]]:
        """Open one file after another, from its first row; a simulated survey, one cell after another."""
        if self.config.format == "simulated":
            yield from ((part.name, None, embedded.blocks(self.config, part)) for part in embedded.parts(self.config))
            return
        roles, files = source_roles(self.config), self.files()
        self._tell_of_nested(files)
        for file in files:
            shape = readers.shape(file, self._format)
            check_columns(shape.columns, roles, where=file.path)
            yield file.name, file.tile, readers.read(file, self._format, as_read(roles), *shape.span)

    def blocks(self, part: Part) -> Iterator[Gated]:
        """Read a part, at most `BLOCK_ROWS` rows at a time, through the gate.

        Raises
        ------
        TableError
            If the file cannot be read or has other columns than the map says.
        """
        return gate_part(self._raw_blocks(part), self.config, part=part.name, tile=part.tile)

    def _raw_blocks(self, part: Part) -> Iterator[RawColumns]:
        if self.config.format == "simulated":
            return embedded.blocks(self.config, part)
        folder = self._path.parent if self._path.is_file() else self._path
        file = TableFile(part.file, str(folder / part.file), tile=part.tile)
        return readers.read(file, self._format, as_read(source_roles(self.config)), part.start, part.stop)

    def check(self) -> None:
        """Hold every file's header against the column map; no row is read and nothing is hashed.

        Raises
        ------
        TableError
            Of the first file that does not fit.
        """
        if self.config.images is None:
            for file in self.files():
                self._check_columns(readers.shape(file, self._format), file)

    def native_tiles(self) -> list[Tile] | None:
        """Give the tiles of a HATS input, which keeps its own partitioning; None for any other."""
        if self.config.format != "hats":
            return None
        return sorted({file.tile for file in self.files() if file.tile is not None})

    def files(self) -> list[TableFile]:
        """List the input files, sorted; none for a simulated survey."""
        if self.config.images is not None:
            from skymill.survey.images import image_files

            return image_files(self.folder, self.config.images, self.config.bands, band_names=self.config.band_names)
        return [] if self.config.format == "simulated" else readers.table_files(self._path, self._format)

    def _tell_of_nested(self, files: list[TableFile]) -> None:
        """Say which columns are left behind although they may be what a person looks for."""
        shapes = [readers.shape(file, self._format) for file in files[:1]]
        carried = {name for name, _ in source_roles(self.config)}
        carried |= {name.partition(".")[0] for name in carried}
        left = [
            name
            for shape in shapes
            for name, (kind, _) in shape.columns.items()
            if kind.endswith(("nested", "list")) and not carried & {name, name.partition(".")[0]}
        ]
        if left:
            logger.warning(
                "survey '%s': nested columns are left behind (%s); name under `nested` what is to be carried along",
                self.config.name,
                ", ".join(left),
            )

    def _parts_of(self, file: TableFile, digest: str) -> list[Part]:
        shape = readers.shape(file, self._format)
        self._check_columns(shape, file)
        return [
            Part(
                name=f"{file.name}[{start}:{stop}]",
                n_rows=shape.rows_in(start, stop),
                digest=inventory.combined_digest([digest, str(start), str(stop)]),
                file=file.name,
                start=start,
                stop=stop,
                tile=file.tile,
            )
            for start, stop in shape.ranges(self.part_rows)
        ]

    def _check_columns(self, shape: readers.Shape, file: TableFile) -> None:
        mend = f"correct the column map in {self.config.where}"
        check_columns(shape.columns, source_roles(self.config), where=file.path, mend=mend)

    @property
    def folder(self) -> Path:
        """What the names of image files are relative to."""
        return self._path

    @property
    def _path(self) -> Path:
        return Path(str(self.config.path))

    @property
    def _format(self) -> TableFormat:
        return cast(TableFormat, self.config.format)


def open_survey(config: SurveyConfig, *, part_rows: int = 1_000_000, cache: Path | None = None) -> Survey:
    """Open a survey without reading it.

    Parameters
    ----------
    config : SurveyConfig
        Where the tables lie and what their columns mean.
    part_rows : int
        Rows that one task reads; a row group of Parquet is never cut.
    cache : Path, optional
        Folder where digests of input files are remembered (`<output>/.cache`).

    Raises
    ------
    TableError
        If there is nothing at the path, or the column map contradicts itself.
    """
    if config.format == "simulated":
        config = embedded.mapped(config)
    elif not embedded.is_simulated(config) and not Path(str(config.path)).exists():
        raise TableError(
            f"{config.where}: path: {config.path}: no such file or folder; correct `path` "
            f"(relative to {Path.cwd()}) or set the variable it is made of"
        )
    if config.images is None or config.id is not None:
        source_schema(config)  # of a survey of images once it is known what is measured
    return Survey(config, part_rows, cache)


def inventory_digest(survey: Survey) -> str:
    """Give one digest of the whole input: the names and the bytes of its files, or the settings of a simulation.

    Quick where the digests of the files are remembered: it then looks at sizes and times only.
    """
    if embedded.is_simulated(survey.config):
        return embedded.digest(survey.config)
    files = survey.files()
    digests = inventory.file_digests(files, survey.cache)
    return inventory.combined_digest(
        text for file, digest in zip(files, digests, strict=True) for text in (file.name, digest)
    )


def file_list(survey: Survey) -> dict[str, str]:
    """Give the SHA-256 of each file of the input, or the digest of a simulation, by name."""
    if embedded.is_simulated(survey.config):
        return {"simulation": embedded.digest(survey.config)}
    files = survey.files()
    return {file.name: digest for file, digest in zip(files, inventory.file_digests(files, survey.cache), strict=True)}

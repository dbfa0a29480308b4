"""A survey: its input cut into parts, each read block by block through the gate."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import cast

from skymill.config.survey import SurveyConfig
from skymill.sky import Tile
from skymill.survey import embedded, inventory, readers
from skymill.survey.blocks import Gated, Part, SourceSchema
from skymill.survey.columns import check_columns, names, source_roles
from skymill.survey.errors import TableError
from skymill.survey.gate import gate
from skymill.survey.measurements import source_schema
from skymill.survey.readers import TableFile
from skymill.survey.readers.tables import TableFormat


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
        files = self.files()
        digests = inventory.file_digests(files, self.cache)
        return [part for file, digest in zip(files, digests, strict=True) for part in self._parts_of(file, digest)]

    def blocks(self, part: Part) -> Iterator[Gated]:
        """Read a part, at most `BLOCK_ROWS` rows at a time, through the gate.

        Raises
        ------
        TableError
            If the file cannot be read or has other columns than the map says.
        """
        if self.config.format == "simulated":
            blocks = embedded.blocks(self.config, part)
        else:
            folder = self._path.parent if self._path.is_file() else self._path
            file = TableFile(part.file, str(folder / part.file), tile=part.tile)
            columns = names(source_roles(self.config))
            blocks = readers.read(file, self._format, columns, part.start, part.stop)
        row = 0
        for block in blocks:
            gated = gate(block, self.config, part=part.name, first_row=row, tile=part.tile)
            row += len(gated.block) + len(gated.rejected)
            yield gated

    def check(self) -> None:
        """Hold every file's header against the column map; no row is read and nothing is hashed.

        Raises
        ------
        TableError
            Of the first file that does not fit.
        """
        for file in self.files():
            self._check_columns(readers.shape(file, self._format), file)

    def native_tiles(self) -> list[Tile] | None:
        """Give the tiles of a HATS input, which keeps its own partitioning; None for any other."""
        if self.config.format != "hats":
            return None
        return sorted({file.tile for file in self.files() if file.tile is not None})

    def files(self) -> list[TableFile]:
        """List the input files, sorted; none for a simulated survey."""
        return [] if self.config.format == "simulated" else readers.table_files(self._path, self._format)

    def _parts_of(self, file: TableFile, digest: str) -> list[Part]:
        shape = readers.shape(file, self._format)
        self._check_columns(shape, file)
        return [
            Part(
                name=f"{file.name}[{start}:{stop}]",
                n_rows=stop - start,
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
    elif not Path(str(config.path)).exists():
        raise TableError(
            f"{config.where}: path: {config.path}: no such file or folder; correct `path` "
            f"(relative to {Path.cwd()}) or set the variable it is made of"
        )
    source_schema(config)
    return Survey(config, part_rows, cache)


def inventory_digest(survey: Survey) -> str:
    """Give one digest of the whole input: the names and the bytes of its files, or the settings of a simulation.

    Quick where the digests of the files are remembered: it then looks at sizes and times only.
    """
    if survey.config.format == "simulated":
        return embedded.digest(survey.config)
    files = survey.files()
    digests = inventory.file_digests(files, survey.cache)
    return inventory.combined_digest(
        text for file, digest in zip(files, digests, strict=True) for text in (file.name, digest)
    )

"""Readers of source tables: where the files are, what columns they hold, rows block by block."""

from skymill.survey.readers.base import Shape, TableFile
from skymill.survey.readers.tables import read, shape, table_files

__all__ = ["Shape", "TableFile", "read", "shape", "table_files"]

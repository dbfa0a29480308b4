"""Where one source's answers come from, and where one tile comes from."""

from skymill.release.explaining.finding import UnknownSourceError, parse_id
from skymill.release.explaining.source import explain_source
from skymill.release.explaining.tile import explain_tile

__all__ = ["UnknownSourceError", "explain_source", "explain_tile", "parse_id"]

"""Seal versions of catalogues."""

from skymill.release.sealing import seal

__all__ = ["seal"]

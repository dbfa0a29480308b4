"""Seal versions of catalogues, and verify what a run wrote."""

from skymill.release.sealing import seal
from skymill.release.verifying import verify

__all__ = ["seal", "verify"]

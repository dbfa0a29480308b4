"""Seal versions of catalogues, verify what a run wrote, and say what moved between two versions."""

from skymill.release.diffing import diff
from skymill.release.sealing import seal
from skymill.release.verifying import verify

__all__ = ["diff", "seal", "verify"]

"""Seal versions of catalogues, say what moved between them, publish them as releases, and verify all of it."""

from skymill.release.diffing import diff
from skymill.release.folder import ReleaseError, Releases
from skymill.release.publishing import Content, GateError, Override, publish, rollback
from skymill.release.sealing import seal
from skymill.release.verifying import verify, verify_release

__all__ = [
    "Content",
    "GateError",
    "Override",
    "ReleaseError",
    "Releases",
    "diff",
    "publish",
    "rollback",
    "seal",
    "verify",
    "verify_release",
]

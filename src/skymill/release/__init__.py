"""Seal versions of catalogues, compare, publish and copy them, verify all of it, and delete what nothing names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lazy_loader import attach

if TYPE_CHECKING:
    from skymill.release.collecting import Asked, Garbage, collect_garbage, find_garbage
    from skymill.release.copying import copy_release
    from skymill.release.diffing import diff, tile_changes
    from skymill.release.diffing.sides import compared
    from skymill.release.folder import ReleaseError, Releases
    from skymill.release.publishing import Content, GateError, Override, publish, rollback
    from skymill.release.scheduled import publish_if_new
    from skymill.release.sealing import seal
    from skymill.release.verifying import verify, verify_release

__all__ = [
    "Asked",
    "Content",
    "Garbage",
    "GateError",
    "Override",
    "ReleaseError",
    "Releases",
    "collect_garbage",
    "compared",
    "copy_release",
    "diff",
    "find_garbage",
    "publish",
    "publish_if_new",
    "rollback",
    "seal",
    "tile_changes",
    "verify",
    "verify_release",
]

# Imported when used: sealing a version does without all that compares and publishes.
__getattr__ = attach(
    __name__,
    submod_attrs={
        "collecting": ["Asked", "Garbage", "collect_garbage", "find_garbage"],
        "copying": ["copy_release"],
        "diffing": ["diff", "tile_changes"],
        "diffing.sides": ["compared"],
        "folder": ["ReleaseError", "Releases"],
        "publishing": ["Content", "GateError", "Override", "publish", "rollback"],
        "scheduled": ["publish_if_new"],
        "sealing": ["seal"],
        "verifying": ["verify", "verify_release"],
    },
)[0]

"""Adaptive HEALPix tiles: count, plan, partition."""

from typing import TYPE_CHECKING

from lazy_loader import attach

from skymill.tiling.settings import image_plan_name, plan_digest, plan_name, settings_digest

if TYPE_CHECKING:
    from skymill.tiling.files import clean_spill
    from skymill.tiling.grouping import groups
    from skymill.tiling.imaging import plan_images
    from skymill.tiling.measured import measured
    from skymill.tiling.partitioning import partition
    from skymill.tiling.planning import plan

__all__ = [
    "clean_spill",
    "groups",
    "image_plan_name",
    "measured",
    "partition",
    "plan",
    "plan_digest",
    "plan_images",
    "plan_name",
    "settings_digest",
]

# The entries are imported when they are used: the Snakefile only needs the digests.
__getattr__ = attach(
    __name__,
    submod_attrs={
        "files": ["clean_spill"],
        "grouping": ["groups"],
        "imaging": ["plan_images"],
        "measured": ["measured"],
        "partitioning": ["partition"],
        "planning": ["plan"],
    },
)[0]

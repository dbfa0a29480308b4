"""Adaptive HEALPix tiles: count, plan, partition."""

from skymill.tiling.settings import plan_digest, plan_name, settings_digest

__all__ = ["clean_spill", "groups", "partition", "plan", "plan_digest", "plan_name", "settings_digest"]


def __getattr__(name: str) -> object:
    """Import the entries when they are used: the Snakefile only needs the digest."""
    from skymill.tiling.files import clean_spill
    from skymill.tiling.grouping import groups
    from skymill.tiling.partitioning import partition
    from skymill.tiling.planning import plan

    entries = {"clean_spill": clean_spill, "groups": groups, "partition": partition, "plan": plan}
    if name not in entries:
        raise AttributeError(f"module 'skymill.tiling' has no attribute '{name}'")
    return entries[name]

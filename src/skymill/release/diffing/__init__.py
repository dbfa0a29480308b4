"""What moved between two versions of a catalogue."""

from skymill.release.diffing.images import TileChanges, tile_changes
from skymill.release.diffing.stage import DELTA, DIFF, MAP, diff

__all__ = ["DELTA", "DIFF", "MAP", "TileChanges", "diff", "tile_changes"]

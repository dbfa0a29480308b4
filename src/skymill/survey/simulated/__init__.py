"""The embedded survey: a simulated LSST-like population, generated on demand from a seed."""

from skymill.config import SimulationSettings
from skymill.survey.simulated.columns import column_map
from skymill.survey.simulated.faults import Fault
from skymill.survey.simulated.footprint import Cell
from skymill.survey.simulated.footprint import cells as _cells
from skymill.survey.simulated.generate import labels, raw_blocks, truth, truth_blocks
from skymill.survey.simulated.population import CLASSES


def cells(settings: SimulationSettings) -> list[Cell]:
    """Give the independent cells of the survey."""
    return list(_cells(settings))


__all__ = ["CLASSES", "Cell", "Fault", "cells", "column_map", "labels", "raw_blocks", "truth", "truth_blocks"]

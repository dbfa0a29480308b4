"""The embedded survey: a simulated LSST-like population, generated on demand from a seed."""

from skymill.survey.simulated.columns import column_map
from skymill.survey.simulated.faults import Fault
from skymill.survey.simulated.footprint import Cell, cells
from skymill.survey.simulated.generate import labels, raw_blocks, truth, truth_blocks
from skymill.survey.simulated.population import CLASSES
from skymill.survey.simulated.tables import data_digest

__all__ = [
    "CLASSES",
    "Cell",
    "Fault",
    "cells",
    "column_map",
    "data_digest",
    "labels",
    "raw_blocks",
    "truth",
    "truth_blocks",
]

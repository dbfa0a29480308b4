"""Surveys: source tables of any format behind one gate, and tables of labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lazy_loader import attach

from skymill.survey.blocks import BLOCK_ROWS, Gated, Part, Rejected, SourceBlock, SourceSchema
from skymill.survey.errors import TableError
from skymill.survey.flags import REASONS, SOURCE_FLAGS, Flag, Reason

if TYPE_CHECKING:
    from skymill.survey.labels import Labels, check_classes, labels_digest, read_labels
    from skymill.survey.sky_maps import maps_digest, read_map
    from skymill.survey.survey import Survey, file_list, inventory_digest, open_survey

__all__ = [
    "BLOCK_ROWS",
    "Flag",
    "Gated",
    "Labels",
    "Part",
    "REASONS",
    "Reason",
    "Rejected",
    "SOURCE_FLAGS",
    "SourceBlock",
    "SourceSchema",
    "Survey",
    "TableError",
    "check_classes",
    "file_list",
    "inventory_digest",
    "labels_digest",
    "maps_digest",
    "open_survey",
    "read_labels",
    "read_map",
]

# What reads tables, and astropy and pyarrow with it, is imported when it is used: making tiles does without.
__getattr__ = attach(
    __name__,
    submod_attrs={
        "labels": ["Labels", "check_classes", "labels_digest", "read_labels"],
        "sky_maps": ["maps_digest", "read_map"],
        "survey": ["Survey", "file_list", "inventory_digest", "open_survey"],
    },
)[0]

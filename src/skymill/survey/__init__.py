"""Surveys: source tables of any format behind one gate, and tables of labels."""

from skymill.survey.blocks import BLOCK_ROWS, Gated, Part, Rejected, SourceBlock, SourceSchema
from skymill.survey.errors import TableError
from skymill.survey.flags import REASONS, SOURCE_FLAGS, Flag, Reason
from skymill.survey.labels import Labels, labels_digest, read_labels
from skymill.survey.survey import Survey, inventory_digest, open_survey

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
    "inventory_digest",
    "labels_digest",
    "open_survey",
    "read_labels",
]

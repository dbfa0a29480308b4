"""What the store refuses, each with a way out."""

from __future__ import annotations


class StoreError(ValueError):
    """Files of the store that contradict what they promise."""


class CorruptTile(StoreError):
    """A tile file whose bytes are not those that were written."""


class FormatError(StoreError):
    """A file written by a newer skymill, or not by skymill at all."""

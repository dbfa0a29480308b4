"""Which module reads a layout; asked for whenever the Snakefile is read, so that it imports nothing."""

from __future__ import annotations

from skymill.config.images import ImageSettings


def layout_module(settings: ImageSettings) -> str:
    """Name the module that reads a layout."""
    return f"skymill.survey.images.{settings.layout}_layout"

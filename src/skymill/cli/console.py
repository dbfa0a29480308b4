"""What reaches a terminal: text, never what a terminal would obey.

Names of columns, classes and files, reasons and logs may hold escape sequences, line breaks or marks that turn the
direction of writing; they are shown as what they are.
"""

from __future__ import annotations

import logging
from typing import Any

import rich.console
import typer
from rich.text import Text

from skymill.config.text import plain

LINES = "\n\t"


def say(text: object) -> None:
    """Print one line."""
    typer.echo(plain(str(text)))


class Console(rich.console.Console):
    """A console that spells out control characters in the strings it is given, those in tables included."""

    def render_str(self, text: str, **options: Any) -> Text:
        """Turn a string into styled text."""
        return super().render_str(plain(text, keep=LINES), **options)


class PlainFormatter(logging.Formatter):
    """Messages for a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        """Give the message."""
        return plain(super().format(record), keep=LINES)


def terminal_handler() -> logging.Handler:
    """Give what writes messages to the terminal."""
    handler = logging.StreamHandler()
    handler.setFormatter(PlainFormatter("%(message)s"))
    return handler

"""Text that somebody else chose, made safe to show: on a terminal, in a comment, in a figure."""

from __future__ import annotations

import unicodedata

OBEYED = {"Cc", "Cf", "Co", "Cs", "Zl", "Zp"}
"""Unicode categories of what is no text: controls, marks of direction, line separators."""


def plain(text: str, *, keep: str = "") -> str:
    """Spell out all control characters but those to keep, as Python spells them."""
    if text.isprintable():
        return text
    return "".join(
        one.encode("unicode_escape").decode() if unicodedata.category(one) in OBEYED and one not in keep else one
        for one in text
    )

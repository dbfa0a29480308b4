"""Patterns of file names: `{band}` is one of the bands, any other word in braces a text without `/`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from skymill.survey.images.tile import ImageError

PLACEHOLDER = re.compile(r"\{([A-Za-z_]\w*)\}")
BAND = "band"


@dataclass(frozen=True)
class Match:
    """A file that a pattern matches.

    Attributes
    ----------
    file : str
        Path below that of the survey.
    values : tuple of (str, str)
        Placeholders other than `{band}` in the pattern's order, and what they stand for.
    band : str or None
        As the survey names it; None where the pattern has no `{band}`.
    """

    file: str
    values: tuple[tuple[str, str], ...]
    band: str | None


def placeholders(pattern: str) -> list[str]:
    """Give the words in braces, each once, without `band`."""
    return [name for name in dict.fromkeys(PLACEHOLDER.findall(pattern)) if name != BAND]


def check_pattern(pattern: str) -> None:
    """Refuse a pattern that leads out of the survey's folder or cannot be understood.

    Raises
    ------
    ImageError
    """
    if pattern.startswith("/") or {"", ".", ".."} & set(pattern.split("/")):
        raise ImageError(f"'{pattern}': expected a name below the survey's `path`, without '..'; correct the pattern")
    if re.search(r"[{}]", PLACEHOLDER.sub("", pattern)) or re.search(r"\}\{", pattern):
        raise ImageError(
            f"'{pattern}': expected words in braces like {{tile}}, with a text between two of them; correct the pattern"
        )


def matches(path: Path, pattern: str, spelled: Mapping[str, str]) -> Iterator[Match]:
    """Find the files that a pattern matches, below a folder.

    Parameters
    ----------
    path : Path
    pattern : str
    spelled : mapping of str to str
        The bands by how file names spell them.
    """
    whole = re.compile(_regex(pattern, spelled))
    for file in _candidates(path, pattern.split("/"), spelled):
        if match := whole.fullmatch(file):
            text = match.groupdict()
            values = tuple((name, text[name]) for name in placeholders(pattern))
            yield Match(file, values, spelled[text[BAND]] if BAND in text else None)


def reached(path: Path, pattern: str, spelled: Mapping[str, str]) -> Path:
    """Give the folder, as deep as can be, in which nothing matches the next part of a pattern."""
    parts = pattern.split("/")
    depth = next(depth for depth in range(len(parts), -1, -1) if depth == 0 or _any(path, parts[:depth], spelled))
    first = next(_candidates(path, parts[:depth], spelled)) if depth else ""
    return path / first


def _any(path: Path, parts: list[str], spelled: Mapping[str, str]) -> bool:
    return next(_candidates(path, parts, spelled), None) is not None


def _candidates(folder: Path, parts: list[str], spelled: Mapping[str, str]) -> Iterator[str]:
    """Files whose name matches part by part: a literal part is looked up, another held against the folder's names."""
    first, *rest = parts
    if PLACEHOLDER.search(first):
        regex = re.compile(_regex(first, spelled))
        names = sorted(each.name for each in folder.iterdir() if each.name[0] != "." and regex.fullmatch(each.name))
    else:
        names = [first] if (folder / first).exists() else []
    for name in names:
        if not rest:
            yield name
        elif (folder / name).is_dir():
            yield from (f"{name}/{below}" for below in _candidates(folder / name, rest, spelled))


def _regex(pattern: str, spelled: Mapping[str, str]) -> str:
    """Turn a pattern into a regular expression; a word met again stands for the same text again."""
    longest_first = sorted(spelled, key=len, reverse=True)
    any_band = "|".join(map(re.escape, longest_first))
    pieces: list[str] = []
    seen: set[str] = set()
    end = 0
    for match in PLACEHOLDER.finditer(pattern):
        name = match[1]
        text = any_band if name == BAND else "[^/]+?"
        pieces += [re.escape(pattern[end : match.start()]), f"(?P={name})" if name in seen else f"(?P<{name}>{text})"]
        seen.add(name)
        end = match.end()
    return "".join([*pieces, re.escape(pattern[end:])])

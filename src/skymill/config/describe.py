"""Every key that a file may hold, with its values, default and meaning, as Markdown."""

from __future__ import annotations

from collections.abc import Iterator
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from skymill.config.base import FileSettings, Settings
from skymill.config.model import ModelConfig
from skymill.config.run import RunConfig
from skymill.config.survey import SurveyConfig

KINDS: dict[str, type[FileSettings]] = {"run": RunConfig, "survey": SurveyConfig, "model": ModelConfig}
BOUNDS = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}
WORDS = {str: "text", int: "whole number", float: "number", bool: "true or false", Any: "any"}


def describe(kind: str) -> str:
    """Describe a kind of file, `run`, `survey` or `model`: a table of its keys, then one of each block's."""
    return "\n".join(_section(f"A {kind}'s file", KINDS[kind], level=2, path=""))


def _section(title: str, settings: type[Settings], *, level: int, path: str) -> Iterator[str]:
    yield from (f"{'#' * level} {title}", "", str(settings.__doc__).partition("\n")[0], "")
    yield from ("| key | value | default | meaning |", "|---|---|---|---|")
    for name, field in settings.model_fields.items():
        yield f"| `{path}{name}` | {_values(field)} | {_default(field)} | {_meaning(field)} |".replace("  ", " ")
    yield ""
    for block, paths in _blocks(settings, path).items():
        title = ", ".join(f"`{each.rstrip('.')}`" for each in paths)
        yield from _section(title, block, level=3, path=paths[0] if len(paths) == 1 else "")


def _blocks(settings: type[Settings], path: str) -> dict[type[Settings], list[str]]:
    """Give the kinds of blocks that a block holds, each with the places where it may stand."""
    found: dict[type[Settings], list[str]] = {}
    for name, field in settings.model_fields.items():
        inner = f"{path}{name}." + ("<name>." if get_origin(field.annotation) is dict else "")
        for block in blocks_of(field.annotation):
            found.setdefault(block, []).append(inner)
    return found


def blocks_of(annotation: Any) -> Iterator[type[Settings]]:
    """Give the blocks that a field may hold."""
    if isinstance(annotation, type) and issubclass(annotation, Settings):
        yield annotation
    for part in get_args(annotation):
        yield from blocks_of(part)


def _values(field: FieldInfo) -> str:
    limits = [(sign, getattr(bound, key, None)) for bound in field.metadata for key, sign in BOUNDS.items()]
    bounds = [f"{sign} {limit}" for sign, limit in limits if limit is not None]
    return ", ".join([_words(field.annotation), *bounds])


def _words(annotation: Any) -> str:
    """Say in words what a type accepts."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return ", ".join(f"`{part}`" for part in parts)
    if origin in (Union, UnionType):
        return " or ".join(_words(part) for part in parts if part is not NoneType)
    if origin is Annotated:
        return _words(parts[0])
    if origin is list:
        return f"list: {_words(parts[0])}"
    if origin is tuple:
        return f"list of {len(parts)}: {_words(parts[0])}"
    if origin is dict:
        return f"by name: {_words(parts[1])}"
    return "block" if next(blocks_of(annotation), None) else WORDS[annotation]


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    if isinstance(field.default, Settings) or field.default in (None, {}, []):
        return ""
    return f"`{field.default}`".replace("'", "").replace("True", "true").replace("False", "false")


def _meaning(field: FieldInfo) -> str:
    text = field.description or " ".join(str(block.__doc__).partition("\n")[0] for block in blocks_of(field.annotation))
    return " ".join(text.split())

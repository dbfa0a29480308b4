"""Configuration errors that name the file, the key, the value and the mend."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

LONGEST_VALUE = 80
BLOCK_EXPECTED = ("model_type", "model_attributes_type", "dict_type")


class ConfigError(ValueError):
    """A configuration file does not say what skymill needs; the message lists every fault."""


def explain(
    error: ValidationError, *, source: str, model: type[BaseModel], keys: str = "`skymill config keys`"
) -> ConfigError:
    """Turn a pydantic error into one line per fault: file, key, value, what is wrong, mend; `keys` explains them."""
    lines = [_line(dict(fault), source, model, keys) for fault in error.errors()]
    return ConfigError("\n".join(lines))


def _line(fault: dict[str, Any], source: str, model: type[BaseModel], keys: str) -> str:
    location = fault["loc"]
    key = ".".join(str(part) for part in location) or "(top level)"
    if fault["type"] == "extra_forbidden":
        known = _known_keys(model, location[:-1])
        close = difflib.get_close_matches(str(location[-1]), known, n=1)
        hint = f"did you mean '{close[0]}'?" if close else f"known keys here: {', '.join(known)}"
        return f"{source}: {key}: unknown key (value {_short(fault['input'])}); {hint}"
    if fault["type"] == "missing":
        return f"{source}: {key}: required key is missing; add it (see {keys})"
    if fault["type"] in BLOCK_EXPECTED:
        known_here = ", ".join(_known_keys(model, location)) or "names of your own"
        return f"{source}: {key}: value {_short(fault['input'])}: expected a block; its keys: {known_here}"
    message = fault["msg"].removeprefix("Value error, ")
    if isinstance(fault["input"], Mapping):  # what is wrong with a whole block, its message says
        return f"{source}: {key}: {message}" if location else f"{source}: {message}"
    return f"{source}: {key}: value {_short(fault['input'])}: {message}"


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= LONGEST_VALUE else text[: LONGEST_VALUE - 3] + "..."


def _known_keys(model: type[BaseModel], path: tuple[int | str, ...]) -> list[str]:
    """Keys allowed at `path` below `model`, as far as the annotations tell."""
    node: Mapping[str, Any] = model.model_json_schema()
    definitions = node.get("$defs", {})
    for part in path:
        node = _step(node, part, definitions)
    return sorted(node.get("properties", {}))


def _step(node: Mapping[str, Any], part: int | str, definitions: Mapping[str, Any]) -> Mapping[str, Any]:
    child: Mapping[str, Any] = node.get("properties", {}).get(str(part), {})
    if not child:
        extra = node.get("additionalProperties") or node.get("items") or {}
        child = extra if isinstance(extra, Mapping) else {}
    options = [child, *child.get("anyOf", []), *child.get("allOf", []), *child.get("oneOf", [])]
    for option in options:
        if "$ref" in option:
            resolved: Mapping[str, Any] = definitions[option["$ref"].rsplit("/", 1)[-1]]
            return resolved
    return child

"""Kinds of one's own: a class in a file that a model's configuration names by `code`.

Such a file is run when it is read, as any program is: take one, or a fit with one, only from whom you trust.
"""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from functools import cache
from pathlib import Path
from types import ModuleType

from skymill.config.errors import ConfigError
from skymill.models.registry import KINDS, OWN, SEGMENTERS, Model

FILE = "code.py"
"""The copy that a fit keeps: it goes on to be read and exported as it was fitted, whatever becomes of the file."""
NEEDED = ("Settings", "fit", "predict_probabilities", "save", "load", "history", "to_onnx")


def register_own(kind: str, path: str | Path, *, source: str) -> None:
    """Have `find` and `read_settings` know the kind of a file.

    Raises
    ------
    ConfigError
        If the zoo has a kind of the name, or the file holds no such class.
    """
    zoo = {**KINDS, **SEGMENTERS}
    if kind in zoo:
        raise ConfigError(
            f"{source}: kind: '{kind}' is a kind of the zoo already ({zoo[kind].__name__}); give the class of "
            f"{path} another `kind`, or take `code` out"
        )
    OWN[kind] = own_class(kind, path, source=source)


def own_class(kind: str, path: str | Path, *, source: str) -> type[Model]:
    """Give the class of a file whose `kind` is the one that is asked for.

    Raises
    ------
    ConfigError
        If the file is not there or cannot be run, or has not exactly one such class, or the class lacks a method.
    """
    path = Path(path)
    if not path.is_file():
        raise ConfigError(f"{source}: code: {path}: no such file; correct it (relative to {Path.cwd()})")
    try:
        module = _module(path.absolute(), hashlib.sha256(path.read_bytes()).hexdigest()[:12])
    except Exception as error:
        raise ConfigError(f"{source}: code: {path}: {type(error).__name__}: {error}; mend the file") from error
    classes = [each for each in vars(module).values() if isinstance(each, type) and each.__module__ == module.__name__]
    of_kind = [each for each in classes if getattr(each, "kind", None) == kind]
    if len(of_kind) != 1:
        found = ", ".join(sorted(str(each.kind) for each in classes if hasattr(each, "kind"))) or "none"
        raise ConfigError(
            f'{source}: code: {path}: expected one class with `kind = "{kind}"`, found {len(of_kind)} '
            f"(kinds in the file: {found})"
        )
    missing = [name for name in NEEDED if not hasattr(of_kind[0], name)]
    if missing:
        raise ConfigError(
            f"{source}: code: {path}: class {of_kind[0].__name__} has no {', '.join(missing)}; `skymill new-model` "
            "writes a class that has all"
        )
    own: type[Model] = of_kind[0]
    return own


@cache
def _module(path: Path, digest: str) -> ModuleType:
    """Run a file once as long as its bytes stay the same."""
    name = f"skymill_own_{path.stem}_{digest}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError("not a Python file: its name does not end in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # where dataclasses and pydantic look up the names of annotations
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module

"""The digest of an algorithm: of its code without comments, docstrings and layout, and of the code it imports.

Nothing is imported: files are parsed. A name taken from a package counts as the module that the package takes it from,
so that what else the package offers does not enter. A few modules that cannot change a result do not count.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

from skymill.store.keys import digest

PACKAGE = "skymill"
ROOT = Path(__file__).resolve().parents[2]
"""The folder that holds the package."""
TILE_FILE = "skymill.store.encode"
"""What turns arrays into the bytes of a tile file: a part of every stage that writes tiles."""
UNCOUNTED = {
    "skymill.config.run",
    "skymill.config.model",
    "skymill.models.torch_logs",
    "skymill.store.durable",
    "skymill.store.trouble",
}
"""The first two say which settings there are: the values decide, and each stage's settings digest holds them. The third
tells people how a training goes; the last two bring bytes to the disk, whatever these are. Were they counted, a new key
would fit every model again."""
UNSPELT = {"kind", "type_comment", "ctx"}
"""Fields of the syntax tree that follow from the others or do not matter."""


def algorithm_digest(version: int | str, modules: Iterable[str], *, root: Path = ROOT) -> str:
    """Give the digest of what some modules compute.

    Parameters
    ----------
    version : int or str
        Declared by the stage; raise it to recompute although no code has changed.
    modules : iterable of str
        The modules that compute, e.g. ``["skymill.features.kernel"]``; what they import inside skymill is found.
    root : Path
        The folder that holds the package.

    Returns
    -------
    str
        64 hexadecimal digits. It does not change with comments, docstrings, layout, quotes or the Python version.

    Raises
    ------
    ModuleNotFoundError
        If a module does not exist.
    """
    return digest({"version": str(version), "modules": module_digests(modules, root=root)})


def module_digests(modules: Iterable[str], *, root: Path = ROOT) -> dict[str, str]:
    """Give the digest of each module that decides what some modules compute: theirs and those of what they import.

    Raises
    ------
    ModuleNotFoundError
        If a module does not exist.
    """
    waiting = list(modules)
    found: dict[str, str] = {}
    while waiting:
        module = waiting.pop()
        if module not in found and module not in UNCOUNTED:
            path = _path(module, root)
            if path is None:
                raise ModuleNotFoundError(f"algorithm digest: expected a module below {root}, found no '{module}'")
            found[module] = _read(path, path.stat().st_mtime_ns).sha256
            waiting.extend(_imports(module, root))
    return found


def code_sha256(path: str | Path) -> str:
    """Give the digest of the code of one file, without comments, docstrings and layout.

    Raises
    ------
    FileNotFoundError
        If it is not there.
    """
    return _read(Path(path), Path(path).stat().st_mtime_ns).sha256


def modules_of_file(path: str | Path, *, root: Path = ROOT) -> list[str]:
    """Name the modules of skymill that a file outside the package takes anything from."""
    return sorted(set(_taken(_read(Path(path), Path(path).stat().st_mtime_ns), "", root)))


class _Parsed:
    """What matters of a source file."""

    def __init__(self, path: Path) -> None:
        tree = ast.parse(path.read_bytes(), filename=str(path))
        words: list[str] = []
        _spell(tree, words)
        self.sha256 = hashlib.sha256("\n".join(words).encode()).hexdigest()
        self.imports = [node for node in _runtime(tree) if isinstance(node, (ast.Import, ast.ImportFrom))]
        self.offers = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
        """Where a package takes its names from, those it loads late included."""
        self.is_package = path.name == "__init__.py"


@cache
def _read(path: Path, changed_ns: int) -> _Parsed:
    return _Parsed(path)


def _path(module: str, root: Path) -> Path | None:
    base = root.joinpath(*module.split("."))
    return next((path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()), None)


def _imports(module: str, root: Path) -> Iterator[str]:
    """Name the modules of skymill that a module takes anything from."""
    path = _path(module, root)
    assert path is not None
    return _taken(_read(path, path.stat().st_mtime_ns), module, root)


def _taken(parsed: _Parsed, module: str, root: Path) -> Iterator[str]:
    for node in parsed.imports:
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
            yield from (name for name in names if name.split(".")[0] == PACKAGE)
            continue
        origin = _origin(node, module, parsed.is_package)
        if origin.split(".")[0] == PACKAGE:
            for alias in node.names:
                yield _provider(origin, alias.name, root)


def _origin(node: ast.ImportFrom, module: str, is_package: bool) -> str:
    """Resolve the dots of a relative import."""
    if not node.level:
        return node.module or ""
    parts = module.split(".")
    parts = parts[: len(parts) - node.level + is_package]
    return ".".join([*parts, *(node.module or "").split(".")]).rstrip(".")


def _provider(origin: str, name: str, root: Path) -> str:
    """Find the module that defines a name: a submodule, one that the package takes it from, or the origin itself."""
    if _path(f"{origin}.{name}", root) is not None:
        return f"{origin}.{name}"
    path = _path(origin, root)
    if path is not None and path.name == "__init__.py":
        for node in _read(path, path.stat().st_mtime_ns).offers:
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    return _provider(_origin(node, origin, True), alias.name, root)
    return origin


def _runtime(tree: ast.AST) -> Iterator[ast.AST]:
    """Walk all nodes but those that only a type checker sees."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            waiting.extend(node.orelse)
        else:
            waiting.extend(ast.iter_child_nodes(node))


def _spell(node: object, words: list[str]) -> None:
    """Spell a syntax tree; empty fields are left out, since newer Pythons add more of them."""
    if isinstance(node, ast.AST):
        words.append(type(node).__name__)
        for field in node._fields:
            value = getattr(node, field, None)
            if value is not None and value != [] and field not in UNSPELT:
                words.append(field)
                _spell(value, words)
        words.append(")")
    elif isinstance(node, list):
        for item in node:
            if not _is_text(item):
                _spell(item, words)
        words.append("]")
    else:
        words.append(f"{type(node).__name__}:{node!r}")


def _is_text(node: object) -> bool:
    """Tell a statement that is a bare string: a docstring of whatever it follows."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)

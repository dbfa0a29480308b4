"""From a survey's source tables to machine-learning catalogues in one command."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from skymill.store.catalogue import open_catalogue

__version__ = "0.1.0"
__all__ = ["__version__", "open_catalogue"]


def __getattr__(name: str) -> Any:
    """Load what reads catalogues when it is first used, so that `import skymill` stays quick."""
    if name == "open_catalogue":
        from skymill.store.catalogue import open_catalogue

        return open_catalogue
    raise AttributeError(f"module 'skymill' has no attribute '{name}'")

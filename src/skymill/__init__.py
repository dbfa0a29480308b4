"""From a survey's source tables to machine-learning catalogues in one command."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lazy_loader import attach

if TYPE_CHECKING:
    from skymill.store.opening import open_catalogue

__version__ = "0.1.0"
__all__ = ["__version__", "open_catalogue"]

# What reads catalogues is imported when it is first used, so that `import skymill` stays quick.
__getattr__ = attach(
    __name__,
    submod_attrs={
        "store.opening": ["open_catalogue"],
    },
)[0]

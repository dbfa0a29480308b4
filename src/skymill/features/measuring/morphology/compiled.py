"""How the loops over pixels are compiled, when they are first called.

The result is not kept on disk: numba would keep it as a pickle, which whoever can write there could exchange.
"""

from __future__ import annotations

from typing import Any

from numba import njit

OPTIONS: dict[str, Any] = {"nogil": True, "no_cfunc_wrapper": True}
compiled: Any = njit(**OPTIONS)
reordering: Any = njit(**OPTIONS, fastmath={"reassoc", "contract", "nsz"})
"""The same where sums may be taken in any order, so that they become vector instructions."""

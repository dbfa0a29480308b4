"""Reading what torch has written, and nothing that could run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch


def load_tensors(file: Path) -> dict[str, Any]:
    """Read tensors, numbers and texts of a checkpoint onto the CPU; anything else in it is refused."""
    content: dict[str, Any] = torch.load(file, weights_only=True, map_location="cpu")  # noqa: TID251 (tensors only)
    return content

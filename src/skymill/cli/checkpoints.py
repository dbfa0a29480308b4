"""Reading what a Snakemake checkpoint wrote."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def read_checkpoint(checkpoint: Any, **wildcards: str) -> dict[str, Any]:
    """Read the JSON a checkpoint declares, inside an input function.

    Raises
    ------
    IncompleteCheckpointException
        If it is not there yet: Snakemake then asks the input function again.
    """
    from snakemake.exceptions import IncompleteCheckpointException
    from snakemake.io import checkpoint_target

    path = Path(checkpoint.get(**wildcards).output[0])
    if not path.exists():
        # Snakemake (9.27) takes a checkpoint for done before it sees that it has to run again, and deletes its output
        # when it starts it: whoever asks in between has to wait.
        raise IncompleteCheckpointException(checkpoint.rule, checkpoint_target(str(path)))
    content: dict[str, Any] = json.loads(path.read_text())
    return content

"""The entry ``skymill`` in an ONNX file's metadata: JSON in which a model says what it is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

FORMAT = 1
ENTRY = "skymill"


class ModelFileError(ValueError):
    """An ONNX file does not keep the contract between training and inference."""


def read_entry(properties: Mapping[str, str], *, source: str, mend: str) -> dict[str, Any]:
    """Read the entry of an ONNX file.

    Parameters
    ----------
    properties : mapping of str to str
        The file's metadata.
    source : str
        Where the file came from, and `mend`, what to do if it has no entry; for messages.

    Raises
    ------
    ModelFileError
        If the entry is absent, no JSON object, or of a newer format.
    """
    if ENTRY not in properties:
        raise ModelFileError(f"{source}: no metadata entry '{ENTRY}', found {sorted(properties) or 'none'}; {mend}")
    try:
        content = dict(json.loads(properties[ENTRY]))
        is_newer = content["format"] > FORMAT
    except (KeyError, TypeError, ValueError) as error:
        raise ModelFileError(f"{source}: metadata entry '{ENTRY}' is not complete ({error!r}); export again") from None
    if is_newer:
        raise ModelFileError(
            f"{source}: metadata format {content['format']}, this skymill reads up to {FORMAT}; update skymill"
        )
    return content

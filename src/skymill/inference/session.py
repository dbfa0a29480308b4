"""One model in one process: opened once, asked block by block."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from skymill.export.metadata import DISAGREEMENT, DISTANCE, EMBEDDING, INPUT, PER_ROW, VOTES, ModelSchema
from skymill.export.tensors import check_stamp_tensors, check_tensors
from skymill.inference.kernel import Answer
from skymill.sessions.entry import ModelFileError
from skymill.sessions.runtime import open_session

MODELS_KEPT = 2


class Session:
    """A loaded model.

    Parameters
    ----------
    content : bytes
        The ONNX file.
    provider : {"cpu", "cuda", "tensorrt"}
    source : str
        Where the file came from, for messages.

    Raises
    ------
    ProviderError
        If ONNX Runtime lacks the provider or falls back to another one.
    ModelFileError
        If the file is not a model or does not keep the contract.
    """

    def __init__(self, content: bytes, *, provider: str, source: str) -> None:
        self._session = open_session(content, provider=provider, source=source)
        self.schema = ModelSchema.from_properties(self._session.get_modelmeta().custom_metadata_map, source=source)
        self._output, width = self.schema.output
        if self.schema.stamps is None:
            check_tensors(self._session, n_features=len(self.schema.inputs), n_classes=width, source=source)
        else:
            check_stamp_tensors(self._session, self.schema.stamp_inputs, self.schema.outputs, source=source)
        self._inputs = list(self.schema.stamp_inputs) or [INPUT]
        sets = self.schema.conformal
        self.thresholds = np.array(sets.thresholds, np.float32) if sets else None
        """Of the conformal sets, (classes,); None for a model without."""
        self._per_row = [output.name for output in self._session.get_outputs() if output.name in PER_ROW]
        self.gives_distance = DISTANCE in self._per_row
        """Whether it tells how far a row is from the training rows."""
        self.gives_disagreement = DISAGREEMENT in self._per_row
        """Whether it tells how far its members disagree."""
        self.pads_blocks = provider != "cpu"
        """GPU kernels are chosen by shape, so there every block has the same one."""

    def __call__(self, *inputs: NDArray[np.float32]) -> Answer:
        """Judge features (n, f), or flux and inverse variance of stamps, and for a model of structure PSFs; native
        float32 and C-contiguous."""
        outputs = [*self.schema.outputs, *self._per_row]
        given = dict(zip(self._inputs, inputs, strict=True))
        found = dict(zip(outputs, map(np.asarray, self._session.run(outputs, given))))
        return Answer(found[self._output], *map(found.get, (DISTANCE, EMBEDDING, DISAGREEMENT, VOTES)))


@lru_cache(maxsize=MODELS_KEPT)
def load_session(path: str, sha256: str, provider: str) -> Session:
    """Open a model's file once in this process.

    Raises
    ------
    ModelFileError
        If the file's SHA-256 is not `sha256`.
    """
    content = Path(path).read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise ModelFileError(f"{path}: expected SHA-256 {sha256}, found {found}; the file was changed, export it again")
    return Session(content, provider=provider, source=path)

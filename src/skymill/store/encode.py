"""From arrays to the entries of a tile file: Zarr writes the documents that describe them, `chunk` the rows."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import ZstdCodec
from zarr.core.buffer import Buffer
from zarr.storage import MemoryStore

from skymill.store.chunk import ZSTD_LEVEL, codec_of, encode_chunk
from skymill.store.keys import canonical_json
from skymill.store.variable import Variable

FORMAT = 1
"""Version of the tile file, `skymill_format` in its attributes; readers refuse a newer one. It is a part of every key:
raise it whenever `writer` comes to write other bytes."""
DOCUMENT = "zarr.json"


class Encoder:
    """A Zarr group in memory from which encoded chunks are taken as soon as they are made.

    Parameters
    ----------
    variables : mapping of str to Variable
        Those of rows may still be empty; the others are encoded now.
    n_rows, chunk_rows : int
        Number of sources, and of sources per chunk.
    """

    def __init__(self, variables: Mapping[str, Variable], n_rows: int, chunk_rows: int) -> None:
        self._encoded: dict[str, Buffer] = {}
        self._store = MemoryStore(self._encoded)
        self._arrays = {name: self._create(name, v, n_rows, chunk_rows) for name, v in variables.items()}
        labels = _names(variables)
        self._order = [*variables, *labels]
        for name, variable in variables.items():
            if not variable.is_rows:
                self._arrays[name][...] = variable.data
        for dim, columns in labels.items():
            self._label(dim, columns)

    def _create(self, name: str, variable: Variable, n_rows: int, chunk_rows: int) -> zarr.Array[Any]:
        shape = (n_rows, *variable.data.shape[1:]) if variable.is_rows else variable.data.shape
        columns = {"columns": list(variable.columns)} if variable.columns else {}
        return zarr.create_array(
            self._store,
            name=name,
            shape=shape,
            dtype=variable.data.dtype,
            chunks=variable.chunks(chunk_rows),
            compressors=(codec_of(variable.data.dtype),),
            fill_value=np.nan if variable.data.dtype.kind == "f" else 0,
            dimension_names=variable.dims,
            attributes={**variable.attrs, **columns},
            config={"write_empty_chunks": True},
        )

    def _label(self, dim: str, columns: tuple[str, ...]) -> None:
        """Add the coordinate that names a dimension's entries to xarray."""
        labels = zarr.create_array(
            self._store,
            name=dim,
            shape=(len(columns),),
            dtype="string",
            chunks=(len(columns),),
            compressors=(ZstdCodec(level=ZSTD_LEVEL, checksum=True),),
            dimension_names=(dim,),
            config={"write_empty_chunks": True},
        )
        labels[...] = np.array(columns, dtype=object)

    def put(self, start: int, rows: Mapping[str, NDArray[Any]]) -> Iterator[tuple[str, bytes]]:
        """Encode one chunk of each variable, from row `start` on; only the last one may be short."""
        for name, values in rows.items():
            array = self._arrays[name]
            if len(values) < array.chunks[0]:
                short, values = values, np.full(array.chunks, array.fill_value, array.dtype)
                values[: len(short)] = short
            yield f"{name}/c/{start // array.chunks[0]}" + "/0" * (values.ndim - 1), encode_chunk(values)

    def take(self) -> Iterator[tuple[str, bytes]]:
        """Give each chunk that Zarr has encoded since the last call, and forget it."""
        for name in [name for name in self._encoded if not name.endswith(DOCUMENT)]:
            yield name, self._encoded.pop(name).to_bytes()

    def documents(self, attrs: Mapping[str, Any]) -> Iterator[tuple[str, bytes]]:
        """Give the metadata of each array, then that of the group, which repeats (consolidates) them all."""
        arrays = {name: json.loads(self._encoded[f"{name}/{DOCUMENT}"].to_bytes()) for name in self._order}
        for name, array in arrays.items():
            yield f"{name}/{DOCUMENT}", canonical_json(array)
        group = {
            "zarr_format": 3,
            "node_type": "group",
            "attributes": json.loads(canonical_json(dict(attrs))),
            "consolidated_metadata": {"kind": "inline", "must_understand": False, "metadata": arrays},
        }
        yield DOCUMENT, json.dumps(group, ensure_ascii=False, allow_nan=False).encode()  # in the order of the columns


def _names(variables: Mapping[str, Variable]) -> dict[str, tuple[str, ...]]:
    """Collect the column names of each dimension.

    Raises
    ------
    ValueError
        If variables that share a dimension disagree on its size or names.
    """
    sizes: dict[str, int] = {}
    names: dict[str, tuple[str, ...]] = {}
    for name, variable in variables.items():
        for dim, size in list(zip(variable.dims, variable.data.shape))[variable.is_rows :]:
            if sizes.setdefault(dim, size) != size:
                raise ValueError(f"variable '{name}': expected {sizes[dim]} entries along '{dim}', found {size}")
        if variable.columns and names.setdefault(variable.dims[-1], variable.columns) != variable.columns:
            dim = variable.dims[-1]
            raise ValueError(
                f"variable '{name}': expected columns {names[dim]} along '{dim}', found {variable.columns}"
            )
    return {dim: columns for dim, columns in names.items() if dim not in variables}

"""Opening a catalogue of image tiles: maps of pixels by the tile's name, and the rows of all tiles at once."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches
from functools import cached_property

import numpy as np
import xarray as xr

from skymill.sky import ImageTile
from skymill.store.catalogue import Catalogue
from skymill.store.cones import Cone
from skymill.store.reader import TileReader
from skymill.store.variable import SOURCE


class ImageCatalogue(Catalogue):
    """A sealed version of a catalogue of image tiles, like `segmentation`; made by `open_catalogue`.

    Its tiles have the survey's names and may overlap on the sky: of a source that was measured on several of them, one
    row is primary (`detect_isPrimary`). Rows stand in the order of the tiles' names.

    Attributes
    ----------
    tiles : DataFrame
        One row per tile in the order of the names: `image`, `n_rows`, `key`, `sha256`, accounting.
    """

    _offers = ".tiles  .tile(name)  .cone(ra, dec, radius_deg)  .to_xarray(columns)"

    def tile(self, name: str) -> xr.Dataset:  # type: ignore[override]
        """Open one tile as plain xarray: maps along `y` and `x`, rows along `source`; values are read when used.

        Parameters
        ----------
        name : str
            As in `tiles["image"]`, e.g. `tract=9813/patch=40`.

        Raises
        ------
        KeyError
            If the catalogue has no such tile.
        """
        return self.reader(name).dataset()

    def reader(self, name: str) -> TileReader:  # type: ignore[override]
        """Open one tile to read rows of it as numpy.

        Raises
        ------
        KeyError
            If the catalogue has no such tile.
        """
        return self.reader_of(ImageTile(name))

    @cached_property
    def maps(self) -> tuple[str, ...]:
        """Names of the variables that have one value per pixel; without a tile none are known."""
        if not len(self.tiles):
            return ()
        arrays = self._first.store.layout.arrays.items()
        return tuple(name for name, array in arrays if len(array.dims) > 1 and not array.is_rows)

    def _hint(self, place: object) -> str:
        close = get_close_matches(str(place), self.tiles["image"].tolist(), n=1)
        return f" (did you mean '{close[0]}'?)" if close else ""

    def _touched(self, cone: Cone) -> list[int]:
        """Every tile with sources: where a tile lies is told by its own zones, not by its name."""
        found: list[int] = np.flatnonzero(self.tiles["n_rows"]).tolist()
        return found

    def _described(self) -> Iterator[str]:
        yield from super()._described()
        for name in self.maps:
            array = self._first.store.layout.arrays[name]
            yield f"{name}: {array.data_type}, a map of each tile along {', '.join(array.dims)}"

    @cached_property
    def _form(self) -> xr.Dataset:
        """What the rows of all tiles have in common; maps are each tile's own."""
        dataset = self._first.dataset()
        along = {dim for name in self.columns for dim in dataset[name].dims}
        own = [name for name, each in dataset.variables.items() if not along.issuperset(each.dims)]
        return dataset.drop_vars(own).isel({SOURCE: slice(0, 0)}).load()

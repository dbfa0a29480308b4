"""Layout `zarr`: Zarr arrays of one image, or of all bands along the first axis; OME-Zarr at full resolution.

Attributes of the array, or of the group that holds it, may tell what the settings do not: `wcs` (text or cards of a
FITS header), `unit`, `flag_masks` with `flag_meanings` (CF conventions) for the planes of a mask.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import zarr
from astropy.io import fits
from numpy.typing import NDArray

from skymill.survey.images.bands import BandSource, Description, Grid, declared_noise
from skymill.survey.images.celestial import celestial_wcs
from skymill.survey.images.limits import check_numbers
from skymill.survey.images.tile import ImageError
from skymill.survey.images.units import nJy_per_unit
from skymill.survey.images.zarr_chunks import check_chunks, check_zip

ERRORS = (ValueError, TypeError, KeyError, IndexError, OSError, RuntimeError, BadZipFile)


class ZarrFile:
    """A Zarr store: a folder, or a zip."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with self.reading():
            self._store: Any = zarr.storage.LocalStore(path, read_only=True)
            if path.is_file():
                check_zip(path)
                self._store = zarr.storage.ZipStore(path, mode="r")
            self.root: Any = zarr.open(self._store, mode="r")

    def close(self) -> None:
        """Close the store."""
        self._store.close()

    def find(self, wanted: str | int | None = None) -> tuple[Any, dict[str, Any]]:
        """Find an array, and the attributes that hold for it.

        Parameters
        ----------
        wanted : str, optional
            Path of an array, or of an OME-Zarr group; None for the root, or the first image in it.

        Raises
        ------
        ImageError
            If there is none; the message lists those there are.
        """
        attributes = dict(self.root.attrs)
        node = self.root
        with self.reading():
            if wanted is not None:
                node = node[str(wanted)] if isinstance(node, zarr.Group) and str(wanted) in node else None
            if isinstance(node, zarr.Group):
                attributes |= dict(node.attrs)
                node = self._image_of(node, attributes)
        if not isinstance(node, zarr.Array):
            names = [name for name, _ in self.root.arrays()] if isinstance(self.root, zarr.Group) else []
            raise ImageError(
                f"{self.path}: expected an array {'of an image' if wanted is None else repr(wanted)}, found "
                f"{', '.join(names) or 'none'}; correct `hdu`"
            )
        return node, attributes | dict(node.attrs)

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Turn what zarr raises into an error that names the store."""
        try:
            yield
        except ERRORS as error:
            if isinstance(error, ImageError):
                raise
            raise ImageError(
                f"{self.path}: expected a Zarr array or group that can be read, found none ({type(error).__name__}: "
                f"{error}); correct the pattern or fetch it again"
            ) from error

    def _image_of(self, group: Any, attributes: Mapping[str, Any]) -> Any:
        """The full resolution of an OME-Zarr image, else the first array with rows and columns."""
        if scales := attributes.get("ome", attributes).get("multiscales"):
            return group[scales[0]["datasets"][0]["path"]]
        return next((each for _, each in sorted(group.arrays()) if each.ndim >= 2), None)


def describe(source: BandSource) -> Description:
    """Read the metadata of a band's array."""
    file = source.open.get(source.path("image"), ZarrFile)
    array, attributes = file.find(source.part("image"))
    where = _where(file, array)
    _place(source, "image", array, attributes, where)
    shape = array.shape[-2:]
    header = _header(attributes, where)
    grid = Grid(where, celestial_wcs(header, shape, source.settings, where), shape)
    unit = attributes.get("unit", attributes.get("units", (header or {}).get("BUNIT")))
    factor = nJy_per_unit(source.settings, source.band, where, bunit=unit)
    return Description(grid, factor, declared_noise(source.settings))


def array(source: BandSource, role: str) -> NDArray[Any] | None:
    """Decode the band's image of a role."""
    if source.declared(role) is None:
        return None
    file = source.open.get(source.path(role), ZarrFile)
    stored, attributes = file.find(source.part(role))
    where = _where(file, stored)
    place = _place(source, role, stored, attributes, where)
    check_numbers(stored.dtype, where)
    with file.reading():
        check_chunks(stored, place, where)
        return np.asarray(stored[place])


def psf(source: BandSource, places: NDArray[np.float64]) -> NDArray[Any] | None:
    """Read the image of the band's PSF, which is the same everywhere."""
    return array(source, "psf")


def planes(source: BandSource) -> Mapping[str, int]:
    """Give the bits that the mask's attributes name, else those of the settings."""
    file = source.open.get(source.path("mask"), ZarrFile)
    stored, attributes = file.find(source.part("mask"))
    if "flag_masks" not in attributes:
        return source.settings.mask_bits
    masks, names = attributes["flag_masks"], str(attributes.get("flag_meanings", "")).split()
    bits = [int(mask).bit_length() - 1 for mask in masks]
    if len(bits) != len(names) or any(mask != 1 << bit for mask, bit in zip(masks, bits)):
        raise ImageError(
            f"{_where(file, stored)}: expected as many flag_meanings as flag_masks, each mask of one bit, found "
            f"{masks} and {names}; mend the attributes"
        )
    return dict(zip(names, bits, strict=True))


def _where(file: ZarrFile, array: Any) -> str:
    return f"{file.path}[{array.path}]" if array.path else str(file.path)


def _place(source: BandSource, role: str, array: Any, attributes: Mapping[str, Any], where: str) -> tuple[int, ...]:
    channels = attributes.get("ome", attributes).get("omero", {}).get("channels", [])
    return source.place(array.shape, role, where, labels=[str(channel.get("label")) for channel in channels])


def _header(attributes: Mapping[str, Any], where: str) -> fits.Header | None:
    """The FITS header that an attribute `wcs` gives."""
    wcs = attributes.get("wcs")
    if wcs is None:
        return None
    if isinstance(wcs, str):
        return fits.Header.fromstring(wcs, sep="\n" if "\n" in wcs else "")
    if isinstance(wcs, Mapping):
        return fits.Header({str(card): value for card, value in wcs.items()})
    raise ImageError(
        f"{where}: expected the attribute wcs to be a FITS header, found {type(wcs).__name__}; write its text"
    )

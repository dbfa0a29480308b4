"""What a layout gives of one band of a tile, whatever the files look like."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Protocol, Self, TypeVar

import numpy as np
from astropy.wcs import WCS
from numpy.typing import NDArray

from skymill.config.images import ImageFile, ImageSettings
from skymill.survey.images.files import ROLES, TileFiles
from skymill.survey.images.limits import check_size
from skymill.survey.images.tile import ImageError

NOISE = ("variance", "inverse_variance", "weight")
"""Roles that tell the noise; at most one of them is given."""
NoiseRole = Literal["variance", "inverse_variance", "weight"]


class _Closable(Protocol):
    def close(self) -> None: ...


Opened = TypeVar("Opened", bound=_Closable)


class OpenFiles:
    """The files of a tile, each opened once."""

    def __init__(self) -> None:
        self._known: dict[Path, Any] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.keep(())

    def get(self, path: Path, opener: Callable[[Path], Opened]) -> Opened:
        """Open a file, or give it as it was opened before."""
        if path not in self._known:
            self._known[path] = opener(path)
        known: Opened = self._known[path]
        return known

    def keep(self, paths: Iterable[Path]) -> None:
        """Close all other files, and let go of what was read of them."""
        for path in set(self._known) - set(paths):
            self._known.pop(path).close()


@dataclass(frozen=True)
class BandSource:
    """Where one band of a tile is to be read.

    Attributes
    ----------
    settings : ImageSettings
    band, spelled : str
        As the survey names it, and as its files do.
    index, n_bands : int
        Its place among the survey's bands, which is that in arrays of all bands, and how many there are.
    paths : mapping of str to Path
        By role.
    open : OpenFiles
    """

    settings: ImageSettings
    band: str
    spelled: str
    index: int
    n_bands: int
    paths: Mapping[str, Path]
    open: OpenFiles

    def declared(self, role: str) -> ImageFile | None:
        """What the settings say of a role."""
        file: ImageFile | None = getattr(self.settings, role)
        return file

    def path(self, role: str) -> Path:
        """Give the file of a role.

        Raises
        ------
        ImageError
            If it is declared but not there.
        """
        if role not in self.paths:
            file = self.declared(role)
            raise ImageError(
                f"{self.paths['image']}: expected a {role.replace('_', ' ')} of band '{self.band}' beside it "
                f"('{file.file if file else ''}'), found none; fetch it, or leave {role} out"
            )
        return self.paths[role]

    def part(self, role: str) -> str | int | None:
        """Extension or array that holds the band; None where the settings name none."""
        file = self.declared(role)
        hdu = file.hdu if file else None
        return hdu.replace("{band}", self.spelled) if isinstance(hdu, str) else hdu

    def place(self, shape: Sequence[int], role: str, where: str, *, labels: Sequence[str] = ()) -> tuple[int, ...]:
        """Give where in an array the band's image is: the index of all axes but the last two.

        An array holds one image, or that of every band along one axis, in the survey's order or as `labels` tell;
        further axes have length 1.

        Raises
        ------
        ImageError
            If the array has another shape, or is too large.
        """
        check_size(shape, where)
        file = self.declared(role)
        own = file is not None and "{band}" in f"{file.file}{file.hdu}"
        n_bands, index = (
            (len(labels), labels.index(self.spelled)) if self.spelled in labels else (self.n_bands, self.index)
        )
        wanted = [] if own or n_bands == 1 else [n_bands]
        longer = [length for length in shape[:-2] if length != 1]
        if len(shape) < 2 or 0 in shape or longer not in ([], wanted):
            expected = "an image" if own else f"an image, or one of each of the {n_bands} bands along the first axis"
            raise ImageError(
                f"{where}: expected {expected}, found an array of shape {tuple(shape)}; correct `hdu`, the pattern or "
                "the survey's bands"
            )
        return tuple(0 if length == 1 else index for length in shape[:-2])


@dataclass(frozen=True)
class Grid:
    """The pixels of a band on the sky.

    Attributes
    ----------
    where : str
        File and extension, for messages.
    wcs : WCS
        Celestial, ICRS.
    shape : (int, int)
        Rows and columns.
    origin : (int, int), optional
        Column and row, in the survey's own count over a tract or detector, of the first pixel.
    inner : (int, int, int, int), optional
        First column and row and those behind the last, in this tile, of what belongs to no neighbour.
    """

    where: str
    wcs: WCS
    shape: tuple[int, int]
    origin: tuple[int, int] | None = None
    inner: tuple[int, int, int, int] | None = None


@dataclass(frozen=True)
class Description:
    """What a band's headers say, before any pixel is decoded.

    Attributes
    ----------
    grid : Grid
    nJy : float
        Flux of one unit of the pixels.
    noise : str or None
        Role that tells the noise, of those in `NOISE`.
    metadata : mapping
        What else the file tells: date, exposure time, filter.
    """

    grid: Grid
    nJy: float
    noise: NoiseRole | None
    metadata: Mapping[str, Any] = field(default_factory=dict)


class Layout(Protocol):
    """How files of one kind are read: what a module of a layout has."""

    def describe(self, source: BandSource) -> Description:
        """Read a band's headers."""
        ...

    def array(self, source: BandSource, role: str) -> NDArray[Any] | None:
        """Decode the band's image of a role: 2-D, of any number type; None where the layout has none."""
        ...

    def psf(self, source: BandSource, places: NDArray[np.float64]) -> NDArray[Any] | None:
        """Give an image of the band's PSF, the mean of those at rows and columns of its grid, (n, 2); None without."""
        ...

    def planes(self, source: BandSource) -> Mapping[str, int]:
        """Give the bit of each named plane of the mask."""
        ...


def sources(
    files: TileFiles,
    path: Path,
    settings: ImageSettings,
    bands: Sequence[str],
    names: Mapping[str, str],
    open: OpenFiles,
) -> dict[str, BandSource]:
    """Give the bands of which a tile has an image.

    Raises
    ------
    ImageError
        If there is none.
    """
    found: dict[str, BandSource] = {}
    for index, band in enumerate(bands):
        paths = {role: path / by_band[band] for role in ROLES if band in (by_band := files.files.get(role, {}))}
        if "image" in paths:
            found[band] = BandSource(settings, band, names.get(band, band), index, len(bands), paths, open)
    if not found:
        raise ImageError(f"{path}: expected an image of tile {files.name}, found none; list the tiles anew")
    return found


def declared_noise(settings: ImageSettings) -> NoiseRole | None:
    """Give the role by which the settings declare the noise."""
    roles: tuple[NoiseRole, ...] = ("variance", "inverse_variance", "weight")
    return next((role for role in roles if getattr(settings, role) is not None), None)

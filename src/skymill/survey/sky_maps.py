"""Maps of a survey's properties (depth, seeing): HEALPix tables in FITS, and HealSparse, the format of LSST's.

A map is brought to NESTED pixels in ICRS, no finer than `FINEST_ORDER`. What a file does not say of ordering, frame or
unit is never guessed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import healpix
import numpy as np
from numpy.typing import NDArray

from skymill.sky import PixelMap, at_order, order29, tile_centres
from skymill.survey import inventory
from skymill.survey.errors import TableError
from skymill.survey.readers.base import TableFile
from skymill.survey.readers.listing import found, walk

if TYPE_CHECKING:
    from skymill.config.survey import SkyMap

FINEST_ORDER = 9
"""Pixels of 6.9 arcmin: 3.1 million of them on the whole sky, 100 MB."""
BLOCK_PIXELS = 2_000_000
UNSEEN_BELOW = -1e30
"""HEALPix marks a pixel without a value by -1.6375e30 (Gorski et al. 2005)."""
Weighted = tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]
"""Pixels, their values, and what each counts."""
PLAUSIBLE = {"depth": (10.0, 35.0), "seeing": (0.02, 20.0)}
"""Medians of 5-sigma depths in AB mag and of FWHM in arcsec that any imaging survey has."""
FRAMES = dict.fromkeys(("C", "CEL", "CELESTIAL", "Q", "EQUATORIAL", "ICRS"), "icrs") | dict.fromkeys(
    ("G", "GAL", "GALACTIC"), "galactic"
)
"""What `COORDSYS` says; E is ecliptic."""


def read_map(name: str, settings: SkyMap) -> PixelMap:
    """Read one of a survey's maps.

    Parameters
    ----------
    name : str
        Its name in the survey's file; `depth_<band>` and `seeing_<band>` are given in mag and arcsec.
    settings : SkyMap

    Returns
    -------
    PixelMap
        Finer pixels are averaged; `weights` say how many of the file's pixels stand behind a value.

    Raises
    ------
    TableError
        If the file is no map, or its pixels, ordering, frame or unit are not what they are said to be.
    """
    path = Path(settings.path)
    if not path.exists():
        raise TableError(f"{path}: no such file; correct maps.{name}.path (relative to {Path.cwd()})")
    header = _header(path)
    pixel_type = str(header.get("PIXTYPE", "")).strip() if header is not None else "HEALSPARSE"
    frame: str
    if pixel_type == "HEALSPARSE":
        read, frame = _read_healsparse(path), settings.frame or "icrs"
    elif header is not None and (pixel_type == "HEALPIX" or "NSIDE" in header):
        _check_unit(path, header, settings, name)
        read, frame = _read_healpix(path, header, settings, name), _frame(path, header, settings, name)
    else:
        raise TableError(
            f"{path}: expected a HEALPix table or HealSparse in the first extension, found PIXTYPE '{pixel_type}'; "
            "give another file, or write the map with healpy or healsparse"
        )
    if not np.isfinite(read.values).any():
        raise TableError(f"{path}: no pixel has a value; correct maps.{name}")
    return _in_unit(path, _rotated(read) if frame == "galactic" else read, settings, name)


def maps_digest(maps: dict[str, SkyMap], cache: Path | None) -> str:
    """Give the digest of what is said of the maps and of the bytes of their files; quick where these are remembered."""
    files = {name: _files(Path(each.path)) for name, each in maps.items()}
    digests = iter(inventory.file_digests([file for listed in files.values() for file in listed], cache))
    said = [text for name, each in maps.items() for text in (name, each.model_dump_json(exclude={"path"}))]
    return inventory.combined_digest([*said, *digests])


def _files(path: Path) -> list[TableFile]:
    return [found(name, entry) for name, entry in walk(path, (".parquet",))] if path.is_dir() else [found("", path)]


def _header(path: Path) -> Any:
    """Give the header of a FITS file's first extension; None for what is not FITS, which only HealSparse may be."""
    from astropy.io import fits

    if path.is_dir():
        return None
    try:
        return fits.getheader(path, 1)
    except (OSError, IndexError) as error:
        raise TableError(f"{path}: no FITS file with a table ({error}); give a HEALPix or HealSparse map") from None


def _read_healpix(path: Path, header: Any, settings: SkyMap, name: str) -> PixelMap:
    """Read a table of all pixels, or of some with their numbers."""
    order, ring = _order(path, header), _ordering(path, header, settings, name) == "RING"
    coarse = min(order, FINEST_ORDER)

    def parts() -> Iterator[Weighted]:
        for pixels, values in _blocks(path, header, settings, name):
            strange = pixels[(pixels < 0) | (pixels >= 12 * 4**order)]
            if len(strange):
                raise TableError(
                    f"{path}: pixel {strange[0]} is none of NSIDE {2**order}; the file is damaged or its NSIDE wrong"
                )
            known = np.isfinite(values) & (values > UNSEEN_BELOW)
            nested = healpix.ring2nest(1 << order, pixels[known]) if ring else pixels[known]
            yield nested >> 2 * (order - coarse), values[known], np.ones(len(nested))

    return _averaged(coarse, parts())


def _averaged(order: int, parts: Iterable[Weighted]) -> PixelMap:
    """Take the weighted mean of all values in each pixel."""
    sums, weights = np.zeros((2, 12 * 4**order))
    for pixels, values, weight in parts:
        sums += np.bincount(pixels, weight * values, len(sums))
        weights += np.bincount(pixels, weight, len(weights))
    kept = np.flatnonzero(weights)
    return PixelMap(order, kept, sums[kept] / weights[kept], weights[kept])


def _blocks(
    path: Path, header: Any, settings: SkyMap, name: str
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float64]]]:
    """Give pixel numbers and values, some at a time; a row of a table of all pixels may hold many."""
    from astropy.io import fits

    with fits.open(path, memmap=True) as file:
        table = file[1]
        names = {each.upper(): each for each in table.columns.names}
        explicit = "PIXEL" in names
        column = _column(path, [each for key, each in names.items() if key != "PIXEL"], settings, name)
        n_rows, width = len(table.data), int(np.prod(table.data[column].shape[1:], dtype=np.int64))
        n_pixels = 12 * 4 ** _order(path, header)
        if not explicit and n_rows * width != n_pixels:
            raise TableError(
                f"{path}: expected {n_pixels:,} values in '{column}', as NSIDE {header['NSIDE']} has pixels, found "
                f"{n_rows * width:,}; a map of part of the sky needs a column PIXEL"
            )
        step = max(1, BLOCK_PIXELS // width)
        for start in range(0, n_rows, step):
            rows = table.data[start : start + step]
            values = np.asarray(rows[column], dtype=np.float64).ravel()
            first = start * width
            pixels = rows[names["PIXEL"]] if explicit else np.arange(first, first + len(values))
            yield np.asarray(pixels, dtype=np.int64), values


def _column(path: Path, known: Sequence[str], settings: SkyMap, name: str) -> str:
    if settings.column is None and len(known) == 1:
        return known[0]
    if settings.column in known:
        return str(settings.column)
    found = "none" if settings.column is None else f"'{settings.column}'"
    raise TableError(f"{path}: maps.{name}.column is {found}; write one of {', '.join(known) or 'no column at all'}")


def _order(path: Path, header: Any) -> int:
    nside = header.get("NSIDE")
    if not isinstance(nside, int) or nside < 1 or nside & (nside - 1):
        raise TableError(f"{path}: expected NSIDE to be a power of two, found {nside}; write the map anew")
    return nside.bit_length() - 1


def _ordering(path: Path, header: Any, settings: SkyMap, name: str) -> str:
    said = {"NEST": "NESTED"}.get(str(header.get("ORDERING", "")).strip().upper(), header.get("ORDERING", ""))
    said = str(said).strip().upper()
    if said and said not in ("RING", "NESTED"):
        raise TableError(f"{path}: expected ORDERING 'RING' or 'NESTED', found '{said}'; write the map in one of them")
    if not (said or settings.ordering):
        raise TableError(f"{path}: no ORDERING in the header; write maps.{name}.ordering: RING or NESTED")
    return _agreed(path, "ordering", said, settings.ordering, name)


def _frame(path: Path, header: Any, settings: SkyMap, name: str) -> str:
    said = str(header.get("COORDSYS", "")).strip().upper()
    if said and said not in FRAMES:
        raise TableError(
            f"{path}: expected COORDSYS C or G, found '{said}'; turn the map into one of them (healpy.Rotator)"
        )
    if not (said or settings.frame):
        raise TableError(f"{path}: no COORDSYS in the header; write maps.{name}.frame: icrs or galactic")
    return _agreed(path, "frame", FRAMES.get(said, ""), settings.frame, name)


def _agreed(path: Path, key: str, said: str, wanted: str | None, name: str) -> str:
    if said and wanted and said != wanted:
        raise TableError(
            f"{path}: its header says {said}, maps.{name}.{key} says {wanted}; take the key out, or mend it"
        )
    return said or str(wanted)


def _check_unit(path: Path, header: Any, settings: SkyMap, name: str) -> None:
    """Hold the unit that the file gives for the column, if it gives one, against the declared one."""
    from astropy import units

    columns = {str(value).strip(): key[len("TTYPE") :] for key, value in header.items() if key.startswith("TTYPE")}
    known = [each for each in columns if each.upper() != "PIXEL"]
    said = str(header.get(f"TUNIT{columns[_column(path, known, settings, name)]}", "")).strip()
    if not said or said == settings.unit:
        return
    unit = units.Unit(said, parse_strict="silent")
    if isinstance(unit, units.UnrecognizedUnit):
        raise TableError(
            f"{path}: astropy does not know the unit '{said}' of its values, which maps.{name} calls "
            f"'{settings.unit}'; correct TUNIT in the file"
        )
    if unit != units.Unit(settings.unit):
        raise TableError(
            f"{path}: its values are in '{said}', maps.{name}.unit says '{settings.unit}'; correct the key"
        )


def _read_healsparse(path: Path) -> PixelMap:
    """Read a map some pixels of its coverage at a time: LSST's are far finer than what is kept."""
    import healsparse

    try:
        covered = healsparse.HealSparseCoverage.read(str(path))
        order = (covered.nside_coverage.bit_length() - 1) + (covered.nfine_per_cov.bit_length() - 1) // 2
        return _averaged(min(order, FINEST_ORDER), _healsparse_parts(path, covered, order))
    except (OSError, RuntimeError, NotImplementedError, KeyError) as error:
        raise TableError(f"{path}: no HealSparse map ({error}); give one, or a HEALPix table in FITS") from None


def _healsparse_parts(path: Path, covered: Any, order: int) -> Iterator[Weighted]:
    import healsparse

    (coverage,) = np.nonzero(covered.coverage_mask)
    step = max(1, BLOCK_PIXELS // covered.nfine_per_cov)
    for start in range(0, len(coverage), step):
        read = healsparse.HealSparseMap.read(str(path), pixels=coverage[start : start + step])
        if read.is_rec_array or read.is_wide_mask_map or read.dtype.kind not in "fiu":
            raise TableError(
                f"{path}: expected a HealSparse map of numbers, found {read.dtype}; write one of its fields"
            )
        pixels = read.valid_pixels.astype(np.int64)
        values = read[pixels].astype(np.float64)
        yield pixels >> 2 * max(order - FINEST_ORDER, 0), values, np.ones(len(pixels))


def _rotated(galactic: PixelMap) -> PixelMap:
    """Bring a map from Galactic pixels to ICRS: a pixel takes the mean of the quarters whose centres lie in it."""
    from astropy.coordinates import SkyCoord

    def parts() -> Iterator[Weighted]:
        for start in range(0, len(galactic.pixels), BLOCK_PIXELS // 8):
            some = slice(start, start + BLOCK_PIXELS // 8)
            quarters = (galactic.pixels[some, None] * 4 + np.arange(4)).ravel()
            place = SkyCoord(*tile_centres(galactic.order + 1, quarters), unit="deg", frame="galactic").icrs
            pixels = at_order(order29(place.ra.deg, place.dec.deg), galactic.order)
            yield pixels, np.repeat(galactic.values[some], 4), np.repeat(galactic.weights[some] / 4, 4)

    return _averaged(galactic.order, parts())


def _in_unit(path: Path, read: PixelMap, settings: SkyMap, name: str) -> PixelMap:
    """Give depths in mag and seeing in arcsec, and refuse what can be neither."""
    from astropy import units

    from skymill.config.survey import QUANTITIES

    quantity = name.partition("_")[0]
    if quantity not in QUANTITIES:
        return read
    factor = units.Unit(settings.unit).to(QUANTITIES[quantity])
    values = read.values * factor
    low, high = PLAUSIBLE[quantity]
    median = float(np.nanmedian(values))
    if not low < median < high:
        raise TableError(
            f"{path}: the median of maps.{name} is {median:.4g} {QUANTITIES[quantity]}, expected {low:g} to {high:g}; "
            "correct unit or column"
        )
    return PixelMap(read.order, read.pixels, values, read.weights)

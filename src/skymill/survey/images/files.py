"""Which files make an image tile."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from skymill.config.images import ImageSettings
from skymill.survey.errors import TableError
from skymill.survey.images.file_patterns import BAND, Match, check_pattern, matches, placeholders, reached
from skymill.survey.images.layout_modules import layout_module
from skymill.survey.images.tile import ImageError
from skymill.survey.inventory import combined_digest, file_digests
from skymill.survey.readers.base import TableFile
from skymill.survey.readers.listing import found

ROLES = ("image", "variance", "inverse_variance", "weight", "mask", "psf")
"""What a file may hold, in the words of the settings."""
NAME = re.compile(r"[A-Za-z0-9_.,+=/-]+")
SUFFIXES = re.compile(r"(\.(ome|fits?|fts|fz|gz|bz2|npy|npz|zarr|zip))+$")
SHOWN = 5
"""Names of files that an error lists."""


@dataclass(frozen=True)
class TileFiles:
    """The files of one image tile.

    Attributes
    ----------
    name : str
        Of the tile: `tract=9813/patch=40`, `tile=94-1-12`.
    files : mapping of str to mapping of str to str
        By role (`ROLES`) and band: the path below that of the survey. A band that the tile lacks is not in it.
    """

    name: str
    files: Mapping[str, Mapping[str, str]]

    @property
    def paths(self) -> list[str]:
        """All files, each once, sorted."""
        return sorted({file for by_band in self.files.values() for file in by_band.values()})


def list_tiles(
    path: Path, settings: ImageSettings, bands: Sequence[str], band_names: Mapping[str, str] = {}
) -> list[TileFiles]:
    """Find the files of each tile.

    Parameters
    ----------
    path : Path
        The survey's folder.
    settings : ImageSettings
        Its patterns. The words in braces of the image's pattern name the tile; a mask, weight or PSF that tiles share
        has fewer of them.
    bands : sequence of str
        Of the survey.
    band_names : mapping of str to str
        How file names spell a band where that differs.

    Returns
    -------
    list of TileFiles
        Sorted by name. A tile without a file of a band is in it, one without any image is not.

    Raises
    ------
    ImageError
        If a pattern matches nothing or cannot be understood, or a tile's name would not do as that of a file.
    """
    if settings.render is not None:
        return [TileFiles(name, {}) for name in import_module(layout_module(settings)).rendered_tiles(settings.render)]
    if not path.is_dir():
        raise ImageError(f"{path}: expected the folder of the survey's images; correct `path`")
    spelled = {band_names.get(band, band): band for band in bands}
    patterns = {role: file.file for role in ROLES if (file := getattr(settings, role)) is not None}
    by_role = {role: _matches(path, role, pattern, spelled) for role, pattern in patterns.items()}
    for role, pattern in patterns.items():
        if more := set(placeholders(pattern)) - set(placeholders(patterns["image"])):
            raise ImageError(
                f"{role}: '{pattern}' has {{{'}, {'.join(sorted(more))}}}, which the image's pattern "
                f"'{patterns['image']}' has not, so that its tile is not known; use the same words in both"
            )
    lookup = {role: {(each.values, each.band): each.file for each in found} for role, found in by_role.items()}
    tiles = dict.fromkeys(match.values for match in by_role["image"])
    listed = [
        TileFiles(_name(path, patterns["image"], values), _files(dict(values), patterns, lookup, bands))
        for values in tiles
    ]
    return sorted(listed, key=lambda tile: tile.name)


def tile_digest(files: TileFiles, path: Path, cache: Path | None = None) -> str:
    """Hash the names and bytes of a tile's files to hex (SHA-256).

    Parameters
    ----------
    files : TileFiles
    path : Path
        The survey's folder; names are taken below it, so that a survey may be moved.
    cache : Path, optional
        Folder of remembered digests; see `survey.inventory.file_digests`.

    Raises
    ------
    ImageError
        If a file cannot be read, or changes while it is.
    """
    check_readable(files, path)
    listed = [each for name in files.paths for each in _stored(path, name)]
    try:
        digests = file_digests(listed, cache)
    except TableError as error:
        raise ImageError(str(error)) from error
    return combined_digest(text for each, sha in zip(listed, digests, strict=True) for text in (each.name, sha))


def check_readable(files: TileFiles, path: Path) -> None:
    """Refuse a tile of which a file is gone, a link that leads nowhere, or one that must not be read.

    Raises
    ------
    ImageError
    """
    for file in (path / name for name in files.paths):
        if not os.access(file, os.R_OK):
            mend = "allow reading it" if file.exists() else "put it back, or mend the link"
            raise ImageError(f"{file}: expected a file of {files.name} that can be read, found none; {mend}")


def tile_digests(tiles: Sequence[TileFiles], path: Path, cache: Path | None = None) -> list[str]:
    """Hash the names and bytes of the files of many tiles; as `tile_digest`, with one look at what is remembered.

    A file that cannot be read is left out, so that the digest changes when it can be.
    """
    stored = [[each for name in tile.paths for each in _stored(path, name)] for tile in tiles]
    digests = iter(file_digests([each for files in stored for each in files], cache))
    return [combined_digest(text for each in files for text in (each.name, next(digests))) for files in stored]


def image_files(
    path: Path, settings: ImageSettings, bands: Sequence[str], band_names: Mapping[str, str] = {}
) -> list[TableFile]:
    """List every file of every tile, each once."""
    names = {name for tile in list_tiles(path, settings, bands, band_names) for name in tile.paths}
    return [each for name in sorted(names) for each in _stored(path, name)]


def _matches(path: Path, role: str, pattern: str, spelled: Mapping[str, str]) -> list[Match]:
    """The files of a role, at least one."""
    check_pattern(pattern)
    if found := list(matches(path, pattern, spelled)):
        return found
    folder = reached(path, pattern, spelled)
    names = sorted(each.name for each in folder.iterdir()) if folder.is_dir() else []
    there = f"{', '.join(names[:SHOWN])}{', ...' if len(names) > SHOWN else ''}" if names else "nothing"
    hint = f" ({{band}} is one of {', '.join(spelled)})" if f"{{{BAND}}}" in pattern else ""
    raise ImageError(
        f"{path}: expected files named '{pattern}'{hint} of the {role}, found none; {folder} holds {there}; "
        "correct the pattern, `path` or band_names"
    )


Values = tuple[tuple[str, str], ...]


def _files(
    values: Mapping[str, str],
    patterns: Mapping[str, str],
    lookup: Mapping[str, Mapping[tuple[Values, str | None], str]],
    bands: Sequence[str],
) -> dict[str, dict[str, str]]:
    """The files of the tile that is told apart by these values."""
    files: dict[str, dict[str, str]] = {}
    for role, pattern in patterns.items():
        own = tuple((name, values[name]) for name in placeholders(pattern))
        keys = {band: (own, band if f"{{{BAND}}}" in pattern else None) for band in bands}
        files[role] = {band: lookup[role][key] for band, key in keys.items() if key in lookup[role]}
    return files


def _name(path: Path, pattern: str, values: Values) -> str:
    """Name a tile by its placeholders; without one, by the survey's folder, or by the only file."""
    if values:
        name = "/".join(f"{key}={text}" for key, text in values)
    else:
        stem = path.absolute().name if f"{{{BAND}}}" in pattern else SUFFIXES.sub("", pattern.split("/")[-1])
        name = f"tile={stem}"
    if not NAME.fullmatch(name) or ".." in name:
        raise ImageError(
            f"{path}: '{pattern}' gives a tile the name '{name}'; expected letters, digits and _ . , + = - only, and "
            "no '..', for results are filed under it; rename the files, or put what is odd into the pattern"
        )
    return name


def _stored(path: Path, name: str) -> Iterator[TableFile]:
    """A file that can be read, or all files of a Zarr folder, hidden ones too."""
    if not (path / name).is_dir():
        if os.access(path / name, os.R_OK):
            yield found(name, path / name)
        return
    for folder, folders, files in os.walk(path / name):
        folders.sort()
        for file in sorted(files):
            inner = Path(folder, file)
            yield found(str(inner.relative_to(path)), inner)

"""A learned segmenter in one process: opened once, asked tile by tile."""

from __future__ import annotations

import hashlib
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from skymill.config.images import MeasureSettings
from skymill.features.measuring.background import Sky
from skymill.features.measuring.footprints import Footprints
from skymill.features.measuring.measured import MeasureError
from skymill.features.segmenting.contract import CONTRACT, INPUTS, SegmenterCard, channels_of, check_tensors
from skymill.features.segmenting.instances import Maps, instances, split_maps
from skymill.features.segmenting.windows import run_windows
from skymill.sessions.entry import ModelFileError
from skymill.sessions.runtime import open_session
from skymill.survey.images.celestial import pixel_scale_arcsec
from skymill.survey.images.tile import TilePixels

SCALE_TOLERANCE = 0.05
"""By which a tile's pixels may differ from those that a segmenter has learned from."""
TOLERANCE = 1e-3
"""Of probabilities and their sum."""


class Segmenter:
    """A loaded segmenter.

    Parameters
    ----------
    content : bytes
        The ONNX file.
    source : str
        Where the file came from, for messages.

    Raises
    ------
    ProviderError
        If ONNX Runtime is not installed.
    ModelFileError
        If the file is not a model or does not keep the contract.
    """

    def __init__(self, content: bytes, *, source: str) -> None:
        self.source = source
        self.sha256 = hashlib.sha256(content).hexdigest()
        self._session = open_session(content, provider="cpu", source=source)
        self.card = SegmenterCard.from_properties(self._session.get_modelmeta().custom_metadata_map, source=source)
        check_tensors(self._session, self.card, source=source)
        self._channels = channels_of(self._session)

    @property
    def described(self) -> dict[str, str]:
        """Name and SHA-256, for the attributes of a tile."""
        return {"name": self.card.model, "sha256": self.sha256}

    @property
    def versions(self) -> dict[str, str]:
        """Of the package that runs it."""
        import onnxruntime

        return {"onnxruntime": onnxruntime.__version__}

    def __call__(self, tile: TilePixels, sky: Sky, fwhm_px: float, settings: MeasureSettings) -> Footprints:
        """Find the sources of a tile.

        Raises
        ------
        ModelFileError
            If the survey lacks one of the segmenter's bands.
        MeasureError
            If the tile's pixels are of another size, or none of them can be used; if the network fails or gives no
            answer; if there are more sources than `settings.max_sources`.
        """
        where = f"{tile.name}: {self.source}"
        card = self.card
        found = instances(
            self._maps(tile, sky, where),
            fwhm_px=fwhm_px,
            min_centre=card.min_centre,
            reach_px=card.reach_px,
            min_area_px=settings.min_area_px,
        )
        if found.n > settings.max_sources:
            raise MeasureError(
                f"{where}: found {found.n:,} sources, expected at most {settings.max_sources:,}; raise max_sources, or "
                "min_centre in the file's metadata, or leave the field out"
            )
        return found

    def _maps(self, tile: TilePixels, sky: Sky, where: str) -> Maps:
        """Run the network over a tile and judge what it gives."""
        card = self.card
        bands = card.places(tile.bands, source=self.source)
        _check_scale(pixel_scale_arcsec(tile.wcs), card.pixel_scale_arcsec, where)
        if not sky.present[bands].any():
            raise MeasureError(
                f"{where}: segments in the bands {', '.join(card.bands)}, the tile has pixels to use in none of them; "
                "leave the field out"
            )
        network = partial(self._run, where, bands)
        maps = split_maps(run_windows(network, sky.pixels, sky.weight, card.windows, sum(self._channels.values())))
        _check_values(maps, where)
        return maps

    def _run(self, where: str, bands: list[int], *windows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Give all outputs, (n, channels, side, side), for windows in all bands of the survey."""
        inputs = {name: window[:, bands] for name, window in zip(INPUTS, windows, strict=True)}
        try:
            found = self._session.run(list(self._channels), inputs)
        except Exception as error:  # the errors of ONNX Runtime have no common base but this
            raise MeasureError(f"{where}: ONNX Runtime cannot run it: {error}; mend the graph") from error
        n, _, *sides = windows[0].shape
        for (name, channels), output in zip(self._channels.items(), found, strict=True):
            if output.shape != (n, channels, *sides):
                raise MeasureError(
                    f"{where}: output '{name}': expected the shape {(n, channels, *sides)}, that of the windows, found "
                    f"{output.shape}; mend the graph as {CONTRACT}, says"
                )
        return np.concatenate(found, axis=1)


@lru_cache(maxsize=1)
def load_segmenter(path: str, sha256: str) -> Segmenter:
    """Open a segmenter's file once in this process.

    Raises
    ------
    ModelFileError
        If the file's SHA-256 is not `sha256`, or as `Segmenter`.
    """
    segmenter = Segmenter(Path(path).read_bytes(), source=path)
    if segmenter.sha256 != sha256:
        raise ModelFileError(
            f"{path}: expected SHA-256 {sha256}, found {segmenter.sha256}; the file has changed since the run began, "
            "start it again"
        )
    return segmenter


def _check_scale(found: float, wanted: float, where: str) -> None:
    if abs(found / wanted - 1) > SCALE_TOLERANCE:
        raise MeasureError(
            f"{where}: made for pixels of {wanted:.4g} arcsec (pixel_scale_arcsec), the tile's are of {found:.4g}; "
            "take a segmenter that has learned from such pixels"
        )


def _check_values(maps: Maps, where: str) -> None:
    """Refuse what is no answer: numbers that are not finite, and probabilities that are none."""
    given = [each for each in (maps.classes, maps.centre, maps.offset, maps.blend) if each is not None]
    if not all(np.isfinite(each).all() for each in given):
        raise MeasureError(f"{where}: expected finite numbers, found NaN or infinite ones; mend the network")
    total = maps.classes.sum(axis=0)
    if maps.classes.min() < -TOLERANCE or np.abs(total - 1).max() > TOLERANCE:
        raise MeasureError(
            f"{where}: output 'classes': expected probabilities that add up to 1, found {_range(maps.classes)}, adding "
            f"up to {_range(total)}; let the graph end in a Softmax over the classes"
        )
    if maps.centre.min() < -TOLERANCE or maps.centre.max() > 1 + TOLERANCE:
        raise MeasureError(
            f"{where}: output 'centre': expected 0 to 1, found {_range(maps.centre)}; let the graph end in a Sigmoid"
        )


def _range(values: NDArray[np.float32]) -> str:
    return f"{values.min():.4g} to {values.max():.4g}"

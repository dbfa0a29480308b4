"""A tile of images becomes a tile of the segmentation catalogue."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xarray as xr
import zarr
from astropy.io import fits
from astropy.wcs import WCS
from measured_tiles import jobs_of, measured_tiles, rendered_survey

from skymill.config.images import MeasureSettings, RenderSettings
from skymill.features.image_columns import with_measured_columns
from skymill.features.image_tile import make_tile
from skymill.features.measuring import MeasureError
from skymill.sky import unit_vectors
from skymill.store.reader import TileReader
from skymill.survey.images.ownership import PRIMARY

WHOLE = RenderSettings(seed=5, tiles=(1, 1), tile_px=640, defects=False, brightest_star=18.0)
CUT = WHOLE.model_copy(update={"tiles": (2, 2), "tile_px": 384, "overlap_px": 128})
SETTINGS = MeasureSettings(background_px=64, psf_from_stars=False)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> TileReader:
    """A field measured as one tile."""
    [tile] = measured_tiles(rendered_survey(WHOLE), SETTINGS, tmp_path_factory.mktemp("whole")).values()
    return tile


@pytest.fixture(scope="module")
def cut(tmp_path_factory: pytest.TempPathFactory) -> dict[str, TileReader]:
    """The same field as four tiles that overlap."""
    return measured_tiles(rendered_survey(CUT), SETTINGS, tmp_path_factory.mktemp("cut"))


def primaries(tiles: list[TileReader]) -> dict[str, np.ndarray]:
    """The sources that tiles own, together."""
    rows = [tile.rows() for tile in tiles]
    return {name: np.concatenate([each[name][each[PRIMARY]] for each in rows]) for name in rows[0]}


def test_a_field_cut_into_tiles_has_the_sources_of_the_whole(whole, cut):
    """Each source once, whichever way the field is cut: the same number to 1 %, the same places and fluxes.

    The background is estimated tile by tile, so that faint sources at the threshold differ, and fluxes by a part of
    their errors: a tenth in the median.
    """
    one, four = primaries([whole]), primaries(list(cut.values()))
    assert len(np.unique(four["objectId"])) == len(four["objectId"])
    assert abs(len(one["objectId"]) - len(four["objectId"])) <= 0.01 * len(one["objectId"])
    apart = np.linalg.norm(
        unit_vectors(one["coord_ra"], one["coord_dec"])[:, None] - unit_vectors(four["coord_ra"], four["coord_dec"]),
        axis=2,
    )
    arcsec, mate = np.degrees(apart.min(axis=1)) * 3600, apart.argmin(axis=1)
    same = arcsec < 0.02
    assert same.mean() > 0.97
    assert len(np.unique(mate[same])) == same.sum()
    pull = (one["psfFlux"] - four["psfFlux"][mate])[same] / one["psfFluxErr"][same]
    assert np.nanmedian(np.abs(pull)) < 0.1
    assert np.nanpercentile(np.abs(pull), 95) < 0.5


def test_no_seam_shows(whole, cut):
    """Along the lines where tiles meet, there are as many sources as in the field that was not cut."""
    one, four = primaries([whole]), primaries(list(cut.values()))
    wcs = WCS(fits.Header.fromstring(whole.attrs["wcs"]))
    counts = []
    for rows in (one, four):
        x, y = wcs.all_world2pix(rows["coord_ra"], rows["coord_dec"], 0)
        counts.append(int(np.count_nonzero((np.abs(x - 319.5) < 10) | (np.abs(y - 319.5) < 10))))
    assert abs(counts[0] - counts[1]) <= 2
    assert counts[0] > 20


def test_labels_lead_to_the_sources(whole):
    """The map's numbers are those of the table; a source's pixels lie in its box, its footprint in its parent's."""
    rows = whole.rows()
    labels, parents = (np.asarray(whole.arrays[name]) for name in ("labels", "parents"))
    assert set(np.unique(labels)) == {0, *rows["label"].tolist()}
    for label, parent, (y0, y1, x0, x1) in zip(rows["label"], rows["parent"], rows["bbox"], strict=True):
        inside = labels[y0:y1, x0:x1] == label
        assert np.count_nonzero(inside) == np.count_nonzero(labels == label) > 0
        assert np.all(parents[y0:y1, x0:x1][inside] == parent)
    assert np.array_equal(labels > 0, parents > 0)


def test_it_opens_as_xarray_and_as_an_image_with_levels(whole):
    """Plain xarray reads it, and the levels that OME-NGFF names are there, each half of the one before."""
    data = xr.open_zarr(zarr.storage.ZipStore(whole.location, mode="r"), chunks=None)
    assert data["labels"].dims == ("y", "x")
    assert data["objectId"].dtype == np.int64
    [image] = data.attrs["ome"]["multiscales"]
    levels = [(each["path"], each["coordinateTransformations"][0]["scale"][0]) for each in image["datasets"]]
    assert levels == [("labels", 1.0), ("labels_2", 2.0)]
    assert np.array_equal(data["labels_2"], data["labels"][::2, ::2])
    ra, dec = WCS(fits.Header.fromstring(data.attrs["wcs"])).all_pix2world(data["centre_x"], data["centre_y"], 0)
    assert np.allclose(ra, data["coord_ra"], atol=1e-9) and np.allclose(dec, data["coord_dec"], atol=1e-9)


def test_the_same_bytes_each_time(cut, tmp_path):
    again = measured_tiles(rendered_survey(CUT), SETTINGS, tmp_path)
    for name in list(cut)[:2]:
        assert Path(again[name].location).read_bytes() == Path(cut[name].location).read_bytes()


def test_sources_are_measured_at_given_positions(whole, tmp_path):
    """Forced: the ids and places of the table stay, and the fluxes are those measured there before."""
    rows = {name: values[::5] for name, values in whole.rows().items()}
    ids = np.arange(len(rows["objectId"]), dtype=np.int64) + (1 << 60)
    columns = {"objectId": ids, "coord_ra": rows["coord_ra"], "coord_dec": rows["coord_dec"]}
    pq.write_table(pa.table(columns), tmp_path / "positions.parquet")
    settings = SETTINGS.model_copy(update={"positions": str(tmp_path / "positions.parquet")})
    [forced] = measured_tiles(rendered_survey(WHOLE), settings, tmp_path / "out").values()
    found = forced.rows()
    assert np.array_equal(np.sort(found["objectId"]), ids)
    order = np.argsort(found["objectId"])
    assert np.array_equal(found["coord_ra"][order], rows["coord_ra"])
    assert not np.asarray(forced.arrays["labels"]).any()
    alone = rows["n_blended"] == 1
    pull = (found["ap1p0Flux"][order] - rows["ap1p0Flux"])[alone] / rows["ap1p0FluxErr"][alone]
    assert np.nanmedian(np.abs(pull)) < 0.1


def test_a_table_without_positions_is_refused(tmp_path):
    pq.write_table(pa.table({"objectId": [1], "ra": [60.0]}), tmp_path / "positions.parquet")
    settings = SETTINGS.model_copy(update={"positions": str(tmp_path / "positions.parquet")})
    run, [job] = jobs_of(rendered_survey(WHOLE), settings, tmp_path / "out")
    with pytest.raises(MeasureError, match=r"positions.parquet: expected .*coord_ra"):
        make_tile(job, run=run)


def test_morphology_is_measured_where_it_is_asked_for(tmp_path):
    """As by the function itself, in the reference band; a column each, and named in the survey's map."""
    small = WHOLE.model_copy(update={"tile_px": 256})
    settings = SETTINGS.model_copy(update={"morphology": True})
    survey = rendered_survey(small)
    [tile] = measured_tiles(survey, settings, tmp_path).values()
    names = [str(name) for name in tile.arrays["values"].attrs["columns"]]
    rows = tile.rows()
    found = dict(zip(names, rows["values"].T, strict=True))
    assert set(names) == set(with_measured_columns(survey, settings).values)
    bright = (rows["psfFlux"][:, 3] > 100 * rows["psfFluxErr"][:, 3]) & (found["morphology_flag"] == 0)
    assert bright.sum() >= 3
    assert np.all((found["gini"][bright] > 0.3) & (found["gini"][bright] < 0.8))
    assert np.all((found["concentration"][bright] > 2) & (found["concentration"][bright] < 5))
    assert np.isnan(found["gini"][found["morphology_flag"] == 4]).all()

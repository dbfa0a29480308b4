"""Which files make a tile: patterns, names, digests."""

from __future__ import annotations

import pickle  # noqa: TID251
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skymill.config.images import ImageSettings
from skymill.survey.images.file_patterns import matches
from skymill.survey.images.files import TileFiles, list_tiles, tile_digest
from skymill.survey.images.tile import ImageError


def settings(image: str, **roles: str) -> ImageSettings:
    content: dict[str, Any] = {role: {"file": pattern} for role, pattern in {"image": image, **roles}.items()}
    return ImageSettings.model_validate({"layout": "fits", "unit": "nJy", **content})


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    return folder


def test_tract_and_patch_name_the_tile_and_a_missing_band_is_missing(tmp_path: Path) -> None:
    touch(tmp_path, "9813/40/g.fits", "9813/40/r.fits", "9813/5/r.fits", "9812/40/g.fits", "9813/40/y.fits")
    tiles = list_tiles(tmp_path, settings("{tract}/{patch}/{band}.fits"), ["g", "r"])
    assert [(tile.name, dict(tile.files["image"])) for tile in tiles] == [
        ("tract=9812/patch=40", {"g": "9812/40/g.fits"}),
        ("tract=9813/patch=40", {"g": "9813/40/g.fits", "r": "9813/40/r.fits"}),
        ("tract=9813/patch=5", {"r": "9813/5/r.fits"}),
    ]


def test_the_sdss_frame_is_one_tile_of_five_bands(data: Path) -> None:
    folder = data / "images" / "sdss_stripe82_94_1_12"
    [tile] = list_tiles(folder, settings("frame-{band}-{tile}.fits.bz2"), list("ugriz"))
    assert tile.name == "tile=000094-1-0012" and list(tile.files["image"]) == list("ugriz")
    [tile] = list_tiles(folder, settings("frame-{band}-000094-1-0012.fits.bz2"), list("ugriz"))
    assert tile.name == "tile=sdss_stripe82_94_1_12"


def test_a_file_of_all_bands_is_listed_for_each_and_names_the_tile(tmp_path: Path) -> None:
    touch(tmp_path, "field.fits.bz2")
    [tile] = list_tiles(tmp_path, settings("field.fits.bz2"), ["g", "r"])
    assert tile == TileFiles("tile=field", {"image": {"g": "field.fits.bz2", "r": "field.fits.bz2"}})


def test_a_mask_or_psf_may_be_shared_by_tiles(tmp_path: Path) -> None:
    touch(tmp_path, "a_g.fits", "b_g.fits", "a_r.fits", "psf/g.fits", "psf/r.fits", "mask_a.fits")
    tiles = list_tiles(tmp_path, settings("{tile}_{band}.fits", psf="psf/{band}.fits", mask="mask_{tile}.fits"), "gr")
    assert [tile.files["psf"] for tile in tiles] == [{"g": "psf/g.fits", "r": "psf/r.fits"}] * 2
    assert [tile.files["mask"] for tile in tiles] == [{"g": "mask_a.fits", "r": "mask_a.fits"}, {}]


def test_bands_are_spelled_as_the_files_spell_them(tmp_path: Path) -> None:
    touch(tmp_path, "x-HSC-G.fits", "x-HSC-R2.fits", "x-HSC-R.fits")
    [tile] = list_tiles(tmp_path, settings("{tile}-{band}.fits"), ["g", "r"], {"g": "HSC-G", "r": "HSC-R2"})
    assert tile == TileFiles("tile=x", {"image": {"g": "x-HSC-G.fits", "r": "x-HSC-R2.fits"}})


def test_a_placeholder_met_twice_is_the_same_text(tmp_path: Path) -> None:
    touch(tmp_path, "5/im-5-g.fits", "5/im-6-g.fits", "g/im-g-g.fits")
    tiles = list_tiles(tmp_path, settings("{tile}/im-{tile}-{band}.fits"), ["g"])
    assert [tile.name for tile in tiles] == ["tile=5", "tile=g"]


def test_hidden_files_and_half_written_ones_are_passed_over(tmp_path: Path) -> None:
    touch(tmp_path, ".a-g.fits", "a-g.fits", "b-g.fits.part")
    assert [tile.name for tile in list_tiles(tmp_path, settings("{tile}-{band}.fits"), ["g"])] == ["tile=a"]


@given(st.text("ab.*+?[](){}^$|\\ -", min_size=1, max_size=8))
def test_other_characters_of_a_pattern_stand_for_themselves(tmp_path_factory: Any, text: str) -> None:
    folder = tmp_path_factory.mktemp("x")
    literal = text.replace("{", "").replace("}", "") or "a"
    touch(folder, f"x{literal}-7.fits", "xab-7.fits", "x-7.fits")
    [match] = matches(folder, f"x{literal}-{{tile}}.fits", {})
    assert match.file == f"x{literal}-7.fits" and match.values == (("tile", "7"),)


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        (
            "{tile}-{band}.fit",
            r"'\{tile\}-\{band\}.fit' \(\{band\} is one of g, r\) of the image, found none; .* a-g.fits",
        ),
        ("deep/{tile}/{band}.fits", "found none; .*deep/one holds g.txt"),
        ("none/{band}.fits", "found none; .* holds a-g.fits, deep, my tile-g.fits"),
        ("/a-{band}.fits", "expected a name below"),
        ("../{tile}.fits", "without '..'"),
        ("{tract}{patch}-{band}.fits", "with a text between"),
        ("{0}-{band}.fits", "expected words in braces"),
        ("{tile}-{band}.fits", "the name 'tile=my tile'; expected letters, digits .*rename the files"),
    ],
)
def test_a_pattern_that_will_not_do_is_refused_with_what_is_there(tmp_path: Path, pattern: str, message: str) -> None:
    touch(tmp_path, "a-g.fits", "deep/one/g.txt", "my tile-g.fits")
    with pytest.raises(ImageError, match=message):
        list_tiles(tmp_path, settings(pattern), ["g", "r"])


def test_a_name_that_leads_elsewhere_is_refused(tmp_path: Path) -> None:
    touch(tmp_path, "a..b-g.fits")
    with pytest.raises(ImageError, match=re.escape("'tile=a..b'")):
        list_tiles(tmp_path, settings("{tile}-{band}.fits"), ["g"])


def test_a_role_without_a_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    touch(tmp_path, "a-g.fits")
    with pytest.raises(ImageError, match="of the mask, found none"):
        list_tiles(tmp_path, settings("{tile}-{band}.fits", mask="{tile}-{band}.mask.fits"), ["g"])
    with pytest.raises(ImageError, match=r"mask: '\{tile\}-\{band\}.fits' has \{tile\}, which the image's"):
        list_tiles(tmp_path, settings("a-{band}.fits", mask="{tile}-{band}.fits"), ["g"])


def test_a_path_that_is_no_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="expected the folder"):
        list_tiles(tmp_path / "gone", settings("{band}.fits"), ["g"])


def test_the_digest_follows_names_and_bytes_not_the_place(tmp_path: Path) -> None:
    def digest(name: str, folder: Path) -> str:
        [tile] = list_tiles(folder, settings("{tile}-{band}.fits"), ["g", "r"])
        assert pickle.loads(pickle.dumps(tile)) == tile  # noqa: S301
        return tile_digest(tile, folder, tmp_path / "cache")

    here, there, renamed, changed, more = (tmp_path / name for name in ("a", "b", "c", "d", "e"))
    touch(here, "x-g.fits"), touch(there, "x-g.fits"), touch(changed, "x-g.fits"), touch(more, "x-g.fits", "x-r.fits")
    touch(renamed, "y-g.fits")
    (renamed / "y-g.fits").write_text("x-g.fits")
    (changed / "x-g.fits").write_text("x-g.fitz")
    first = digest("x", here)
    assert len(first) == 64 and digest("x", there) == first
    assert len({first, digest("y", renamed), digest("x", changed), digest("x", more)}) == 4


def test_the_digest_of_a_folder_covers_every_file_in_it(tmp_path: Path) -> None:
    touch(tmp_path, "a.zarr/.zarray", "a.zarr/0.0")
    [tile] = list_tiles(tmp_path, settings("{tile}.zarr"), ["g"])
    first = tile_digest(tile, tmp_path)
    (tmp_path / "a.zarr/.zarray").write_text("other")
    assert tile_digest(tile, tmp_path) != first
    (tmp_path / "a.zarr/0.0").unlink()
    (tmp_path / "a.zarr/.zarray").unlink()
    (tmp_path / "a.zarr").rmdir()
    with pytest.raises(
        ImageError, match=r"a.zarr: expected a file of tile=a that can be read, found none; put it back"
    ):
        tile_digest(tile, tmp_path)

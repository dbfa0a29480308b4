"""The peers of reading, in their own environment: hats alone with pandas, and lsdb."""

from __future__ import annotations

import argparse
from typing import Any

from answering import answer, ids_digest

COLUMNS = ["objectId", "coord_ra", "coord_dec", "p_GALAXY", "p_QSO", "p_STAR"]


def main() -> None:
    """Do the jobs by one of the two packages; the other is not imported."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--catalogue", required=True)
    parser.add_argument("--by", choices=("hats", "lsdb"), required=True)
    arguments = parser.parse_args()
    reader = {"hats": Hats, "lsdb": Lsdb}[arguments.by]()

    def job(cone: tuple[float, float, float] | None) -> dict[str, Any]:
        if cone is None:
            return {"n": reader.open(arguments.catalogue)}
        ids = reader.cone(*cone)
        return {"n": len(ids), "ids": ids_digest(ids)}

    answer(job, {})


class Hats:
    """hats finds the leaves, pandas reads them, the rows outside are dropped here."""

    def __init__(self) -> None:
        import hats
        import numpy
        import pandas

        self.hats, self.np, self.pandas = hats, numpy, pandas

    def open(self, catalogue: str) -> int:
        """Open; give the number of leaves."""
        self.catalogue = self.hats.read_hats(catalogue)
        return len(self.catalogue.get_healpix_pixels())

    def cone(self, ra: float, dec: float, radius: float) -> Any:
        """Give the ids within a cone."""
        leaves = self.catalogue.filter_by_cone(ra, dec, 3600 * radius).get_healpix_pixels()
        rows = self.pandas.concat([self.catalogue.read_pixel_to_pandas(leaf, columns=COLUMNS) for leaf in leaves])
        return rows["objectId"].to_numpy()[self.inside(rows, ra, dec, radius)]

    def inside(self, rows: Any, ra: float, dec: float, radius: float) -> Any:
        """Tell rows within a cone, by the haversine."""
        np = self.np
        ra2, dec2 = (np.radians(rows[name].to_numpy(np.float64)) for name in ("coord_ra", "coord_dec"))
        ra1, dec1 = np.radians(ra), np.radians(dec)
        half = np.sin((dec2 - dec1) / 2) ** 2 + np.cos(dec1) * np.cos(dec2) * np.sin((ra2 - ra1) / 2) ** 2
        return half <= np.sin(np.radians(radius) / 2) ** 2


class Lsdb:
    """lsdb opens the whole, then searches a cone."""

    def __init__(self) -> None:
        import lsdb

        self.lsdb = lsdb

    def open(self, catalogue: str) -> int:
        """Open; give the number of leaves."""
        self.catalogue = self.lsdb.open_catalog(catalogue, columns=COLUMNS)
        return len(self.catalogue.get_healpix_pixels())

    def cone(self, ra: float, dec: float, radius: float) -> Any:
        """Give the ids within a cone."""
        found = self.catalogue.cone_search(ra, dec, radius_arcsec=3600 * radius).compute()
        return found["objectId"].to_numpy("int64")


if __name__ == "__main__":
    main()

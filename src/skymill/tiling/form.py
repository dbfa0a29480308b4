"""The arrays of a source tile: names, types, units and meanings."""

from __future__ import annotations

import numpy as np

from skymill.store.variable import Variable
from skymill.survey.blocks import SourceSchema
from skymill.survey.flags import SOURCE_FLAGS

PLAIN: dict[str, tuple[str, dict[str, str]]] = {
    "objectId": ("<i8", {"long_name": "identifier of the source in its survey", "ucd": "meta.id;meta.main"}),
    "_healpix_29": ("<i8", {"long_name": "HEALPix pixel of order 29, NESTED", "ucd": "pos.healpix"}),
    "coord_ra": ("<f8", {"long_name": "right ascension, ICRS", "units": "deg", "ucd": "pos.eq.ra;meta.main"}),
    "coord_dec": ("<f8", {"long_name": "declination, ICRS", "units": "deg", "ucd": "pos.eq.dec;meta.main"}),
}


def variables(schema: SourceSchema) -> dict[str, Variable]:
    """Describe the arrays of a tile; they have no rows yet."""
    form = {name: Variable(np.empty(0, dtype), attrs=attrs) for name, (dtype, attrs) in PLAIN.items()}
    form["flags"] = Variable.of_rows(
        "<i4",
        long_name="what is odd about the source",
        flag_masks=[flag.mask for flag in SOURCE_FLAGS],
        flag_meanings=" ".join(flag.name for flag in SOURCE_FLAGS),
        ucd="meta.code",
    )
    for name in schema.photometry:
        error = name not in schema.fluxes
        form[name] = Variable.of_rows(
            "<f4",
            dim="band",
            columns=schema.bands,
            long_name=f"{name.removesuffix('Err')}, 1-sigma error" if error else name,
            units="nJy",
            ucd="stat.error;phot.flux.density" if error else "phot.flux.density",
        )
    if schema.values:
        units = list(schema.values.values())
        form["values"] = Variable.of_rows(
            "<f4", dim="value", columns=tuple(schema.values), long_name="other measurements", column_units=units
        )
    return form

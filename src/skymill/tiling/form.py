"""The arrays of a source tile: names, types, units and meanings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from skymill.store.variable import Variable
from skymill.survey.blocks import SourceSchema
from skymill.survey.ragged import ObservedValue, Ragged

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
        flag_masks=[flag.mask for flag in schema.flags],
        flag_meanings=" ".join(flag.name for flag in schema.flags),
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
    for name in schema.nested:
        long_name, along = f"number of observations in {name}", f"{name}_obs"
        form[f"{name}_count"] = Variable.of_rows("<i4", long_name=long_name, sample_dimension=along)
    return form


def observations(schema: SourceSchema, nested: Mapping[str, Ragged]) -> dict[str, Variable]:
    """Give the observations of a tile's sources as contiguous ragged arrays (CF conventions 1.11, section 9.3.3).

    Those of the first source come first, `<name>_count` of them.
    """
    form: dict[str, Variable] = {}
    for name, values in schema.nested.items():
        for key, value in values.items():
            data = np.ascontiguousarray(nested[name].values[key])
            attrs = {"long_name": f"{key} in {name}", **_meaning(value)}
            form[f"{name}_{key}"] = Variable(data, (f"{name}_obs",), attrs)
    return form


def _meaning(value: ObservedValue) -> dict[str, Any]:
    if not value.categories:
        return {"units": value.unit}
    meanings = ["unknown", *(name.replace(" ", "_") for name in value.categories)]
    return {"flag_values": list(range(-1, len(value.categories))), "flag_meanings": " ".join(meanings)}

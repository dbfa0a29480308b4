"""Our side of reading: open a sealed catalogue, read cones."""

from __future__ import annotations

import argparse
from typing import Any

from answering import answer, ids_digest

import skymill

COLUMNS = ["objectId", "coord_ra", "coord_dec", "probabilities"]


def main() -> None:
    """Do the jobs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--catalogue", required=True)
    arguments = parser.parse_args()
    open_catalogue = skymill.open_catalogue  # imports what it needs, as the peers have done by now
    held: list[Any] = []

    def job(cone: tuple[float, float, float] | None) -> dict[str, Any]:
        if cone is None:
            held.append(open_catalogue(arguments.catalogue))
            return {"n": len(held[0].tiles)}
        found = held[0].cone(*cone, columns=COLUMNS)
        return {"n": found.sizes["source"], "ids": ids_digest(found["objectId"].to_numpy())}

    answer(job, {})


if __name__ == "__main__":
    main()

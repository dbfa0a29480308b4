"""What a run has made so far, for a person who wants to open it."""

from __future__ import annotations

import json
from pathlib import Path

from skymill.cli.check import RESERVED, SEGMENTATION


def what_stands(output: str | Path) -> list[str]:
    """Name the sealed catalogues and the report below a run's folder, and show how to open them.

    Returns
    -------
    list of str
        Lines of text; none where no catalogue has been sealed yet.
    """
    output = Path(output)
    catalogues = sorted(path.parent for path in output.glob("catalogues/*/current.json"))
    if not catalogues:
        return []
    of_images = (SEGMENTATION, *_segmenters(output))
    products = [path for path in catalogues if path.name not in (*RESERVED, *of_images)] or catalogues
    page = output / "report" / "index.html"
    return [
        "",
        "Catalogues",
        *(f"  {path}" for path in catalogues),
        *(["Report", f"  {page}"] if page.is_file() else []),
        "Open one in Python",
        "  import skymill",
        f'  catalogue = skymill.open_catalogue("{products[-1]}")',
        "  catalogue.cone(*catalogue.centre, radius_deg=0.5)",
    ]


def _segmenters(output: Path) -> list[str]:
    """Name the exported models that find sources on images."""
    return [
        path.parent.name for path in output.glob("models/*/manifest.json") if "card" in json.loads(path.read_bytes())
    ]

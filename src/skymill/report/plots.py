"""The plots of a release as files of their own, which `snakemake --report` shows under captions."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from pathlib import Path

from skymill.report import PLOTS_OF_MODELS, PLOTS_OF_SKY
from skymill.report.gallery import Gallery, Picture
from skymill.report.gather import Run


def write_plots(folder: Path, made: Run, galleries: Sequence[Gallery], maps: Sequence[Gallery]) -> None:
    """Write the plots that the workflow declares (workflow/rules/common.smk)."""
    folder.mkdir(parents=True, exist_ok=True)
    for gallery in galleries:
        if gallery.anchor in PLOTS_OF_MODELS:
            for (model, _), picture in zip(made.trained, gallery.pictures, strict=True):
                (folder / f"{model.name}-{gallery.anchor}.svg").write_bytes(svg_of(picture))
    for gallery in maps:
        if gallery.anchor in PLOTS_OF_SKY:
            (folder / f"sky-{gallery.anchor}.svg").write_text(beside(gallery.pictures), encoding="utf-8")


def svg_of(picture: Picture) -> bytes:
    """Give the file behind a figure of the page."""
    return base64.b64decode(picture.uri.partition(",")[2])


def beside(pictures: Sequence[Picture]) -> str:
    """Put figures beside each other in one SVG. Their ids are digests of what they name, so that equal ones agree."""
    inner, x = [], 0
    for picture in pictures:
        text = svg_of(picture).decode()
        drawing = text[text.index("<svg") :]
        inner.append(re.sub(r"^<svg", f'<svg x="{x}"', drawing, count=1))
        x += picture.width
    height = max((picture.height for picture in pictures), default=0)
    size = f'width="{x}" height="{height}" viewBox="0 0 {x} {height}"'
    links = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    return f"<svg {links} {size}>\n" + "\n".join(inner) + "</svg>\n"

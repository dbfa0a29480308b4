"""What is kept of one part of the survey: all that is decided about its rows before they come together in tiles."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from skymill.sky import at_order
from skymill.survey.blocks import Gated, Rejected
from skymill.survey.measurements import source_schema
from skymill.survey.ragged import Ragged, join, observation_dtype
from skymill.survey.summary import Summary, summarise
from skymill.tiling.adaptive import CountMap, count_pixels
from skymill.tiling.identity import make_index
from skymill.tiling.rows import Rows, content_digest, pack, row_dtype, row_order

if TYPE_CHECKING:
    from skymill.config.survey import SurveyConfig


@dataclass(frozen=True)
class Bucket:
    """Rows of one part in one pixel of the group order: a stretch of the part's sorted rows."""

    order: int
    pixel: int
    sha256: str
    n_rows: int


@dataclass(frozen=True, eq=False)
class PartContent:
    """A part that has been read."""

    rows: Rows
    """Sorted."""
    buckets: tuple[Bucket, ...]
    """In the order of the rows."""
    counts: CountMap
    rejected: list[Rejected]
    summary: Summary
    """What the rows look like."""
    nested: Mapping[str, Ragged]
    """The observations of the rows, by name of the nested column."""

    @property
    def n_in(self) -> int:
        """Rows read."""
        return len(self.rows) + sum(len(batch) for batch in self.rejected)

    @property
    def index(self) -> NDArray[np.void]:
        """Ids and positions of the rows."""
        return make_index(self.rows)

    @property
    def n_observations(self) -> dict[str, list[int]]:
        """Count the observations in each bucket, by name of the nested column."""
        edges = np.cumsum([0, *(bucket.n_rows for bucket in self.buckets)])
        return {name: np.diff(column.edges[edges]).tolist() for name, column in self.nested.items()}

    def refused(self, kind: str) -> dict[str, int]:
        """Count the rows that are ``quarantined`` or ``excluded``, by reason."""
        reasons = Counter[str]()
        for batch in self.rejected:
            reasons.update(batch.reason[batch.kind == kind].tolist())
        return dict(reasons)


def part_content(gated: Iterable[Gated], survey: SurveyConfig, *, group_order: int, count_order: int) -> PartContent:
    """Sort the rows of a part and count them.

    Parameters
    ----------
    gated : iterable of Gated
        Its rows as they leave the gate; one part is held in memory.
    survey : SurveyConfig
        What its values were declared to be.
    group_order, count_order : int
        Orders of the buckets and of the count map.
    """
    schema, summary = source_schema(survey), Summary()
    packed, blocks, rejected = [np.empty(0, row_dtype(schema))], [], []
    for item in gated:
        packed.append(pack(item.block, schema))
        blocks.append(item.block.nested)
        summary += summarise(item, survey)
        if len(item.rejected):
            rejected.append(item.rejected)
    unsorted = np.concatenate(packed)
    order = row_order(unsorted)
    rows = np.take(unsorted, order)
    return PartContent(
        rows=rows,
        buckets=tuple(
            Bucket(group_order, pixel, content_digest(some), len(some)) for pixel, some in _split(rows, group_order)
        ),
        counts=count_pixels(at_order(rows["_healpix_29"], count_order)),
        rejected=rejected,
        summary=summary,
        nested={
            name: join([block[name] for block in blocks], observation_dtype(values))[order]
            for name, values in schema.nested.items()
        },
    )


def _split(rows: Rows, group_order: int) -> Iterator[tuple[int, Rows]]:
    """Cut rows, sorted by position, at the pixels of the group order."""
    pixels = at_order(rows["_healpix_29"], group_order)
    starts = np.flatnonzero(np.concatenate([[True], pixels[1:] != pixels[:-1]])[: len(rows)])
    for start, stop in zip(starts, [*starts[1:], len(rows)]):
        yield int(pixels[start]), rows[start:stop]

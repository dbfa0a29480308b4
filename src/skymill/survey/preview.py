"""The first rows of a survey: what becomes of them, and what looks wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from skymill.survey.flags import SOURCE_FLAGS
from skymill.survey.summary import Summary, summarise
from skymill.survey.survey import Survey
from skymill.survey.suspicion import suspicions


@dataclass(frozen=True)
class Preview:
    """What the gate makes of the first rows."""

    summary: Summary
    excluded: Mapping[str, int]
    quarantined: Mapping[str, int]
    flags: Mapping[str, int]
    """Sources with each flag; a source may have several."""
    warnings: list[str]

    def lines(self, fluxes: list[str], bands: list[str]) -> list[str]:
        """Say it in text."""
        lines = [f"rows         {self.summary.n_in}", f"accepted     {self.summary.n_sources}"]
        for title, counts in (("excluded", self.excluded), ("quarantined", self.quarantined), ("flagged", self.flags)):
            told = ", ".join(f"{reason} {count}" for reason, count in counts.items())
            lines.append(f"{title:12} {told or 'none'}")
        for name in fluxes:
            medians = [(band, self.summary.brightness[f"{name} {band}"].median()) for band in bands]
            told = "  ".join(f"{band} {'-' if median is None else format(median, '.1f')}" for band, median in medians)
            lines.append(f"median AB magnitude of {name}: {told}")
        return [*lines, *(f"warning: {warning}" for warning in self.warnings or ["none"])]


def preview(survey: Survey, n_rows: int) -> Preview:
    """Read the first rows of a survey through the gate.

    Raises
    ------
    TableError
        If a file cannot be read, or does not hold the mapped columns in usable types.
    """
    summary = Summary()
    reasons: dict[str, Counter[str]] = {"excluded": Counter(), "quarantined": Counter()}
    flags: Counter[str] = Counter()
    for gated in survey.first_rows(n_rows):
        summary += summarise(gated, survey.config)
        for kind, reason in zip(gated.rejected.kind.tolist(), gated.rejected.reason.tolist(), strict=True):
            reasons[kind][reason] += 1
        for flag in SOURCE_FLAGS:
            flags[flag.name] += int((gated.block.flags & flag.mask != 0).sum())
    return Preview(summary, **reasons, flags=+flags, warnings=suspicions(summary, survey.config))

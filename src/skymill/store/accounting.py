"""Every source is accounted for: n_in = n_ok + n_flagged + quarantined + excluded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from skymill.store.errors import StoreError


class AccountingError(StoreError):
    """Sources that were lost or counted twice."""


@dataclass(frozen=True)
class Accounting:
    """What became of a number of sources.

    Attributes
    ----------
    n_in : int
        Sources received.
    n_ok : int
        Sources written without a flag.
    n_flagged : int
        Sources written with at least one flag.
    flagged : dict
        Sources by flag; one with two flags counts under both.
    quarantined, excluded : dict
        Sources not written, by reason; each counts under one.
    """

    n_in: int = 0
    n_ok: int = 0
    n_flagged: int = 0
    flagged: Mapping[str, int] = field(default_factory=dict)
    quarantined: Mapping[str, int] = field(default_factory=dict)
    excluded: Mapping[str, int] = field(default_factory=dict)

    @property
    def n_rows(self) -> int:
        """Sources written: those without and those with flags."""
        return self.n_ok + self.n_flagged

    @property
    def n_quarantined(self) -> int:
        """Sources put aside because something is wrong with them."""
        return sum(self.quarantined.values())

    @property
    def n_excluded(self) -> int:
        """Sources left out on purpose."""
        return sum(self.excluded.values())

    @classmethod
    def total(cls, parts: Iterable[Accounting]) -> Accounting:
        """Give the sum of any number of parts."""
        n_in = n_ok = n_flagged = 0
        reasons: tuple[Counter[str], ...] = (Counter(), Counter(), Counter())
        for part in parts:
            n_in, n_ok, n_flagged = n_in + part.n_in, n_ok + part.n_ok, n_flagged + part.n_flagged
            for counter, counts in zip(reasons, (part.flagged, part.quarantined, part.excluded)):
                counter.update(counts)
        return cls(n_in, n_ok, n_flagged, *(dict(counter) for counter in reasons))

    def check(self, where: str = "accounting") -> Accounting:
        """Return self if the sum closes.

        Raises
        ------
        AccountingError
            If sources were lost, counted twice, or counted below zero.
        """
        total = self.n_rows + self.n_quarantined + self.n_excluded
        if total != self.n_in:
            raise AccountingError(
                f"{where}: expected n_in = n_ok + n_flagged + quarantined + excluded, found {self.n_in} in and "
                f"{total} = {self.n_ok} + {self.n_flagged} + {self.n_quarantined} + {self.n_excluded} out; "
                "a stage lost or doubled sources, so do not release it"
            )
        counts = [self.n_in, self.n_ok, self.n_flagged]
        for reasons in (self.flagged, self.quarantined, self.excluded):
            counts.extend(reasons.values())
        if min(counts) < 0:
            raise AccountingError(f"{where}: expected counts of zero or more, found {self}")
        if max(self.flagged.values(), default=0) > self.n_flagged or sum(self.flagged.values()) < self.n_flagged:
            raise AccountingError(f"{where}: expected n_flagged to agree with the flags, found {self}")
        return self

    def as_dict(self) -> dict[str, Any]:
        """Give plain values for JSON; zero counts of reasons are left out."""
        values = asdict(self)
        for name in ("flagged", "quarantined", "excluded"):
            values[name] = {reason: int(n) for reason, n in sorted(values[name].items()) if n}
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Accounting:
        """Read what `as_dict` gave."""
        return cls(**values)

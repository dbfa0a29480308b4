"""The gate: what a run has to keep within before it may be published."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from skymill.config.run import GateSettings

WORST = 5
"""Offenders that are named."""


@dataclass(frozen=True)
class Facts:
    """What the gate looks at, of one catalogue.

    Attributes
    ----------
    catalogue : str
    accounting : mapping
        Of its version.
    tiles : iterable of (str, int)
        Each tile's name and rows.
    metrics : mapping or None
        Of the fit on its locked test set; None of a catalogue without a model trained here.
    shift : mapping or None
        How the survey differs from the training rows.
    diff : mapping or None
        What moved since the current release; None where that has no such catalogue.
    parity : mapping or None
        The exported file against the fitted model; None of a file from elsewhere.
    """

    catalogue: str
    accounting: Mapping[str, Any]
    tiles: Iterable[tuple[str, int]] = ()
    metrics: Mapping[str, Any] | None = None
    shift: Mapping[str, Any] | None = None
    diff: Mapping[str, Any] | None = None
    parity: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Verdict:
    """One rule on one catalogue.

    Attributes
    ----------
    rule, catalogue : str
    limit, found : float
    kept : bool
    offenders : list of str
        The worst of what is beyond the limit, in words; empty where it is kept.
    """

    rule: str
    catalogue: str
    limit: float
    found: float
    kept: bool
    offenders: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Give plain values for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        told = f"{self.catalogue}: {self.rule} is {self.found:.6g}, the limit is {self.limit:g}"
        return told + ("" if self.kept else "; " + "; ".join(self.offenders))


def judge(facts: Iterable[Facts], settings: GateSettings) -> list[Verdict]:
    """Hold catalogues against the limits; what is not known of one is not judged."""
    return [verdict for each in facts for verdict in _judge(each, settings)]


def _judge(facts: Facts, settings: GateSettings) -> Iterator[Verdict]:
    account = facts.accounting
    n_in = max(account["n_in"], 1)
    quarantined = account["quarantined"]
    yield from _most(
        "quarantined_share", facts, settings.quarantined_share, sum(quarantined.values()) / n_in, _reasons(quarantined)
    )
    fullest = sorted(facts.tiles, key=lambda tile: (-tile[1], tile[0]))[:WORST]
    if fullest:
        limit = settings.rows_per_tile
        over = [f"{name} has {rows:,} rows" for name, rows in fullest if limit is not None and rows > limit]
        yield from _most("rows_per_tile", facts, limit, fullest[0][1], over)
    if facts.diff is not None:
        yield from _moved(facts, facts.diff, settings)
    if facts.metrics is not None:
        yield from _measured(facts, facts.metrics["overall"], settings)
    if facts.parity is not None:
        yield from _exported(facts, facts.parity, settings)
    if facts.shift is not None:
        yield from _shifted(facts, facts.shift, settings)


def _exported(facts: Facts, parity: Mapping[str, Any], settings: GateSettings) -> Iterator[Verdict]:
    """The limit is one on probabilities; other models have kept to their own before they were exported."""
    if "max_probability_difference" in parity:
        told = f"of {parity['rows']:,} rows compared, a share of {parity['flip_rate']:g} changes class"
        yield from _most("parity", facts, settings.parity, parity["max_probability_difference"], [told])


def _moved(facts: Facts, diff: Mapping[str, Any], settings: GateSettings) -> Iterator[Verdict]:
    rows, flips = diff["rows"], diff["flips"]["count"]
    together = rows["matched"] + rows["in_shared_tiles"]
    surprising = [
        f"source {one['objectId']} was {one['before']} ({one['probability_before']:.3f}), is {one['after']} "
        f"({one['probability_after']:.3f})"
        for one in diff["surprising"][:WORST]
    ]
    yield from _most("flip_rate", facts, settings.flip_rate, flips / max(together, 1), surprising)
    moved = sorted(((one["beyond_3"]["count"], name) for name, one in diff["numbers"].items()), reverse=True)
    if moved:
        told = [f"{name}: {count:,} sources beyond three errors" for count, name in moved[:WORST]]
        yield from _most("moved_share", facts, settings.moved_share, moved[0][0] / max(together, 1), told)
    lost = [f"{rows['removed']:,} of {rows['before']:,} sources are gone; `delta/` lists them"]
    yield from _most("removed_share", facts, settings.removed_share, rows["removed"] / max(rows["before"], 1), lost)


def _measured(facts: Facts, overall: Mapping[str, Any], settings: GateSettings) -> Iterator[Verdict]:
    error = overall.get("ece")
    if error is None:  # a model that gives no classes
        return
    expected = overall.get("ece_if_calibrated", {}).get("value")
    told = "" if expected is None else f"; were every probability right it would be {expected:.4f}"
    yield from _most("ece", facts, settings.ece, error["value"], [f"{_interval(error)}{told}"])
    for name, limit in settings.completeness.items():
        value = overall.get(f"completeness_{name}")
        if value is not None and value["value"] is not None:
            kept = value["value"] >= limit
            offenders = [] if kept else [f"class {name}: {_interval(value)}"]
            yield Verdict(f"completeness_{name}", facts.catalogue, limit, value["value"], kept, offenders)


def _shifted(facts: Facts, shift: Mapping[str, Any], settings: GateSettings) -> Iterator[Verdict]:
    counts = shift["survey"]
    bins = [one for one in shift["outside"]["by_magnitude"] if one["share"]["value"] is not None]
    worst = sorted(bins, key=lambda one: -one["share"]["value"])[:WORST]
    told = [f"magnitude {one['low']:g} to {one['high']:g}: {one['share']['value']:.3f}" for one in worst]
    share = counts["outside"] / max(counts["n_rows"], 1)
    yield from _most("outside_share", facts, settings.outside_share, share, told)
    if shift["two_sample"] is not None:
        features = [f"feature {one['name']}: KS {one['ks']:.3f}" for one in shift["features"][:WORST] if one["ks"]]
        yield from _most("two_sample_auc", facts, settings.two_sample_auc, shift["two_sample"]["auc"], features)


def _most(rule: str, facts: Facts, limit: float | None, found: float, offenders: list[str]) -> Iterator[Verdict]:
    if limit is not None:
        kept = found <= limit
        yield Verdict(rule, facts.catalogue, limit, found, kept, [] if kept else offenders)


def _reasons(quarantined: Mapping[str, int]) -> list[str]:
    worst = sorted(quarantined.items(), key=lambda item: (-item[1], item[0]))[:WORST]
    return [f"{reason}: {n:,} sources" for reason, n in worst]


def _interval(entry: Mapping[str, Any]) -> str:
    low, high = entry.get("low"), entry.get("high")
    return f"{entry['value']:.4f}" + ("" if low is None else f" (95 % interval {low:.4f} to {high:.4f})")

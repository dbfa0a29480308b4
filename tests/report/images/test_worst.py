"""The worst are chosen by score, on no more tiles than may be opened."""

from __future__ import annotations

import numpy as np
from image_rows import BANDS, flux_of, tile_rows, true_sources

from skymill.report.images.truth import match_tile
from skymill.report.images.worst import KEPT, Worst, by_tile, offer_flagged, offer_wrong
from skymill.survey.flags import BAD_PIXEL, EDGE, SATURATED


def offered(scores: dict[str, list[float]]) -> Worst:
    worst = Worst()
    for tile, values in scores.items():
        ids = np.arange(len(values))
        worst.offer("missed", tile, np.array(values), ids, np.zeros((len(values), 2)), lambda row: (str(row),))
    return worst


def test_the_highest_scores_are_kept_whatever_tile_they_come_from():
    rng = np.random.default_rng(5)
    scores = {f"tile={k}": rng.random(100).tolist() for k in range(4)}
    kept = sorted((one.score for one in offered(scores).kinds["missed"]), reverse=True)
    assert kept == sorted((score for own in scores.values() for score in own), reverse=True)[:KEPT]


def test_no_more_tiles_are_opened_than_allowed_and_those_open_anyway_are_used():
    worst = offered({"tile=a": [9.0, np.nan], "tile=b": [8.0], "tile=c": [7.0, 6.0], "tile=d": [5.0]})
    chosen = worst.chosen(["tile=c"], 2, 3)["missed"]
    assert [(one.tile, one.score) for one in chosen] == [("tile=a", 9.0), ("tile=c", 7.0), ("tile=c", 6.0)]
    assert list(by_tile({"missed": chosen})) == ["tile=a", "tile=c"]
    assert worst.chosen([], 5, 2).keys() == {"missed"}


def test_of_equally_many_flags_the_brightest_comes_first():
    flags = [0, EDGE.mask | SATURATED.mask, BAD_PIXEL.mask, BAD_PIXEL.mask, EDGE.mask | SATURATED.mask]
    tile = tile_rows(range(5), flux=[1e9, 10.0, 50.0, 1.0, 20.0], flags=flags, detect_isPrimary=[1, 1, 1, 1, 1])
    worst = Worst()
    offer_flagged(worst, tile, 1)
    order = [one.object_id for one in worst.chosen([], 1, 9)["flagged"]]
    assert order == [5, 2, 3, 4]
    assert worst.chosen([], 1, 1)["flagged"][0].facts == ("i 28.15", "saturated, edge")


def test_what_disagrees_with_the_truth_is_offered_with_its_numbers():
    x = [0.0, 10.0, 20.0, 30.0]
    flux = flux_of(20.0) * np.array([[1, 1], [1.5, 1], [1, 1], [1, 1]])
    tile = tile_rows([*x[:3], 50.0], flux=flux, error=flux_of(20.0) / 100)
    truth = true_sources(x, 20.0, [True] * 4)
    worst = Worst()
    offer_wrong(worst, tile, truth, match_tile(tile, truth, BANDS), BANDS, 1)
    chosen = worst.chosen([], 1, 1)
    pull = 0.5 / np.hypot(0.01, 0.03)
    assert chosen["residual"][0].facts == (f"g PSF: {pull:+.1f}", "true g 20.00")
    assert chosen["residual"][0].object_id == 2
    assert (chosen["missed"][0].object_id, chosen["missed"][0].x) == (1004, 30.0)
    assert chosen["missed"][0].facts == ("true i 20.00", "STAR")
    assert (chosen["false"][0].object_id, chosen["false"][0].facts) == (4, ("i 20.00",))

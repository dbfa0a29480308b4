"""The timeline shows when jobs ran: ends from the files' times, starts from their seconds, pauses cut out."""

from __future__ import annotations

import os

import numpy as np
import pytest

from skymill.report.timeline import MOST_LANES, Job, at_once, draw_timeline, lanes_of, read_job, without_pauses

HEADER = "s\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time\n"


def job(start, end, rule="fit", memory=500.0, cores=1.0):
    return Job(rule, float(start), float(end), memory, cores)


def test_a_benchmark_file_tells_start_end_memory_and_cores(tmp_path):
    path = tmp_path / "fit.tsv"
    path.write_text(HEADER + "16.5\t0:00:16\t779.30\t2865.7\t676.6\t727.4\t188.1\t30.4\t93.77\t16.22\n")
    os.utime(path, (2_000_000, 1_000_000))
    assert read_job("fit", path) == Job("fit", 1_000_000 - 16.5, 1_000_000, 779.3, pytest.approx(0.9377))


@pytest.mark.parametrize("nothing", ["-", "NA", ""])
def test_what_could_not_be_measured_counts_as_nothing(tmp_path, nothing):
    path = tmp_path / "fit.tsv"
    path.write_text(HEADER + "\t".join(["0.5", "0:00:00", *[nothing] * 8]) + "\n")
    read = read_job("fit", path)
    assert (read.memory, read.cores, read.end - read.start) == (0, 0, pytest.approx(0.5, abs=1e-6))


def test_long_pauses_are_cut_out_and_short_ones_kept():
    moved, cuts = without_pauses([job(100, 110), job(5000, 5020), job(105, 150), job(5100, 5110), job(190, 200)])
    assert [(each.start, each.end) for each in moved] == [(0, 10), (5, 50), (90, 100), (100, 120), (120, 130)]
    assert cuts == [100, 120]


def test_a_long_job_beside_short_ones_is_no_pause():
    jobs = [job(0, 200), job(5, 10), job(150, 160), job(210, 220)]
    assert without_pauses(jobs) == (jobs, [])


def test_jobs_that_ran_together_lie_in_lanes_of_their_own():
    jobs = [job(0, 10), job(1, 3), job(2, 12), job(3, 4), job(10, 11)]
    lanes = lanes_of(jobs)
    assert lanes == [0, 1, 2, 1, 0]
    assert max(lanes_of([job(0, 10) for _ in range(30)])) == MOST_LANES - 1


def test_sums_follow_starts_and_ends():
    times, cores = at_once([job(0, 10), job(5, 10), job(10, 20)], [1.0, 2.0, 4.0])
    assert times.tolist() == [0, 5, 10, 20]
    assert cores.tolist() == [1, 3, 4, 0]


def test_the_chart_has_a_bar_for_each_job():
    jobs = {"fit": [job(0, 10), job(5, 12)], "seal": [job(12, 14, "seal")]}
    upper, cores, memory = draw_timeline(jobs).axes
    bars = [path.get_extents() for each in upper.collections for path in each.get_paths()]
    assert sorted((bar.x0, bar.x1) for bar in bars) == [(0, 10), (5, 12), (12, 14)]
    assert [label.get_text() for label in upper.get_yticklabels()] == ["fit", "seal"]
    assert cores.collections[0].get_paths()[0].vertices[:, 1].max() == 2.0
    assert memory.collections[0].get_paths()[0].vertices[:, 1].max() == pytest.approx(1.0)
    assert np.isclose(memory.get_xlim(), (0, 14)).all()

"""How many faults the tests cause: few with `make test`, many with `make test-faults` (SKYMILL_FAULTS=long)."""

from __future__ import annotations

import os

LONG = os.environ.get("SKYMILL_FAULTS") == "long"

WORKER_KILLS = 500 if LONG else 20
COORDINATOR_KILLS = 100 if LONG else 5
WORKFLOW_KILLS = 10 if LONG else 1
"""Of snakemake, and as many of a worker under it, with `make test-faults`; each costs some runs of the workflow."""
EVERY_CALL = 1 if LONG else 4
"""Errors are caused at every n-th call; kills at every one."""
FLIPS = 1000 if LONG else 60
HISTORIES = 200 if LONG else 10
"""Of the store, each of up to `STEPS` steps."""
STEPS = 60 if LONG else 25
DAMAGES = 400 if LONG else 48
"""Truncations, deletions and swaps."""
RELEASE_KILLS = 200 if LONG else 12
"""Of who publishes, goes back, collects garbage or copies."""
RELEASE_DAMAGES = 1000 if LONG else 60
"""Of releases and copies of them."""
RELEASE_CALLS = 1 if LONG else 12
"""Publications, copies and ways back are disturbed at every n-th call, the last one included."""

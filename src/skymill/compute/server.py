"""Imported by the process that workers are forked from, and by nothing else.

It has the imports of a worker, and of nearly every task, behind it and ends with the coordinator: by itself it would
wait for its last worker, which would wait for it.
"""

import distributed.nanny  # noqa: F401

import skymill.compute.worker
import skymill.store.reader
import skymill.store.writer  # noqa: F401
from skymill.compute.family import signal_parents_death

signal_parents_death()

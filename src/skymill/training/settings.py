"""Digests of what decides a training set: quick, since the Snakefile asks for them each time it is read."""

from __future__ import annotations

from skymill.config import RunConfig
from skymill.store.algorithm import algorithm_digest
from skymill.store.keys import digest
from skymill.survey import Survey
from skymill.survey.labels import labels_digest as digest_of_table

VERSION = 1
"""Raise it to make the training set again although no code has changed."""


def set_settings_digest(run: RunConfig) -> str:
    """Give the digest of what decides the training set, besides features and labels."""
    labels = run.labels.model_dump(mode="json", exclude={"path"}) if run.labels else None
    code = algorithm_digest(VERSION, ["skymill.training.training_set"])
    return digest({"labels": labels, "split": run.split.model_dump(mode="json"), "seed": run.seed, "algorithm": code})


def labels_digest(run: RunConfig, survey: Survey) -> str:
    """Give the digest of the label table's bytes; empty where the run has no labels."""
    return digest_of_table(run.labels, survey.config, cache=survey.cache) if run.labels else ""

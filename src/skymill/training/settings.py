"""Digests of what decides a training set and what it is compared with: the Snakefile asks for them as it is read."""

from __future__ import annotations

from typing import Any

from skymill.config import RunConfig
from skymill.store.algorithm import algorithm_digest
from skymill.store.keys import digest
from skymill.survey import Survey
from skymill.survey.labels import labels_digest as digest_of_table

SET = ("skymill.training.training_set",)
SHIFT = ("skymill.training.shift",)
VERSION = 1
"""Raise it to make the training set again although no code has changed."""


def set_settings_digest(run: RunConfig) -> str:
    """Give the digest of what decides the training set, besides features and labels."""
    return digest({**set_settings(run), "algorithm": algorithm_digest(VERSION, SET)})


def set_settings(run: RunConfig) -> dict[str, Any]:
    """Give the settings that decide the training set."""
    labels = run.labels.model_dump(mode="json", exclude={"path"}) if run.labels else None
    for name in ("targets", "votes"):
        if labels is not None and not labels[name]:
            del labels[name]  # a set of classes alone is the same as before there were others
    return {"labels": labels, "split": run.split.model_dump(mode="json"), "seed": run.seed}


def shift_settings_digest(run: RunConfig, survey: Survey) -> str:
    """Give the digest of what decides the comparison of a model's training rows with the survey, besides both."""
    return digest({**shift_settings(run, survey), "algorithm": algorithm_digest(VERSION, SHIFT)})


def shift_settings(run: RunConfig, survey: Survey) -> dict[str, Any]:
    """Give the settings that decide the comparison of a model's training rows with the survey."""
    return {"bands": list(survey.config.bands), "seed": run.seed}


def labels_digest(run: RunConfig, survey: Survey) -> str:
    """Give the digest of the label table's bytes; empty where the run has no labels."""
    return digest_of_table(run.labels, survey.config, cache=survey.cache) if run.labels else ""

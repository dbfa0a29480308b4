"""What volunteers are asked: the names of the answers, wherever votes are read, learned or told."""

from __future__ import annotations

from collections.abc import Iterable, Mapping


def answer_names(questions: Mapping[str, Iterable[str]]) -> list[str]:
    """Give ``<question>_<answer>`` of each answer, question by question."""
    return [f"{question}_{answer}" for question, answers in questions.items() for answer in answers]

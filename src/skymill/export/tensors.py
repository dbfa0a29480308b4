"""The tensors that every model's graph takes and gives."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from skymill.export.metadata import INPUT, OUTPUT, PER_ROW
from skymill.sessions.entry import ModelFileError

Shape = tuple[int | None, ...]
"""Of a tensor after its first dimension, which is free; None is any number."""


def check_tensors(session: Any, *, n_features: int | None, n_classes: int | None, source: str) -> None:
    """Check that a session takes ``features`` float32 (n, f) and gives ``probabilities`` float32 (n, classes).

    It may also give those of `PER_ROW`, float32 (n,).

    Raises
    ------
    ModelFileError
        Naming every tensor that differs.
    """
    _check(session, {INPUT: (n_features,)}, {OUTPUT: n_classes}, source)


def check_stamp_tensors(
    session: Any, inputs: Mapping[str, Shape], outputs: Mapping[str, int | None], *, source: str
) -> None:
    """Check that a session takes `inputs` of stamps, all float32 with free n, and gives `outputs` float32 (n, width).

    It may also give those of `PER_ROW`, float32 (n,).

    Raises
    ------
    ModelFileError
        Naming every tensor that differs.
    """
    _check(session, inputs, outputs, source)


def _check(session: Any, inputs: Mapping[str, Shape], outputs: Mapping[str, int | None], source: str) -> None:
    taken, given = session.get_inputs(), session.get_outputs()
    widths = {name: (width,) for name, width in outputs.items()}
    faults = [*_faults("input", inputs, taken, only=True), *_faults("output", widths, given)]
    for tensor in given:
        if tensor.name in PER_ROW:
            faults += _faults("output", {tensor.name: ()}, given)
    if faults:
        raise ModelFileError(f"{source}: {'; '.join(faults)}; rename or reshape the graph's tensors")


def _faults(side: str, wanted: Mapping[str, Shape], found: Sequence[Any], *, only: bool = False) -> Iterator[str]:
    """Name tensors that are not there, or of another type or shape; and others than the wanted ones if `only` these."""
    named = {tensor.name: tensor for tensor in found}
    if not wanted.keys() <= named.keys() or (only and len(found) > len(wanted)):
        yield f"expected the {side} {' and '.join(map(repr, wanted))}, found {', '.join(named) or 'none'}"
        return
    for name, shape in wanted.items():
        tensor = named[name]
        if tensor.type != "tensor(float)" or not _fits(tensor.shape, shape):
            expected = ", ".join(["n", *(str(size or "any") for size in shape)])
            yield (
                f"{side} '{name}': expected tensor(float) of shape ({expected}{'' if shape else ','}) with free n, "
                f"found {tensor.type} {tuple(tensor.shape)}"
            )


def _fits(found: Sequence[Any], wanted: Shape) -> bool:
    """Whether the first dimension is free and the others, where both sides say a number, are the same."""
    if len(found) != 1 + len(wanted) or isinstance(found[0], int):
        return False
    return all(size is None or not isinstance(own, int) or own == size for own, size in zip(found[1:], wanted))

"""Where the encoder of a network on stamps starts from, in place of weights that are drawn: another one's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from skymill.models.registry import Fitted

if TYPE_CHECKING:
    from torch import Tensor, nn

OWN = ("stretch.noise",)
"""What stays as the images at hand have it."""
LAST = "project."
"""Before the names of the last map, to vectors: it is taken over where these are as long."""


def is_checkpoint(start: str) -> bool:
    """Tell a file from the name of a model of the run."""
    return start.endswith(".pt")


def starting_tensors(start: str, members: Mapping[str, Fitted]) -> dict[str, Tensor]:
    """Give the tensors of the encoder to start from, by name; of several networks those of the first.

    Parameters
    ----------
    start : str
        The `checkpoint.pt` of a fit, or the name of one of `members`.
    members : mapping of str to Fitted
        The finished fits of the run that this one needs.

    Raises
    ------
    ValueError
        If it is neither, or a file that cannot be read or holds no network on stamps.
    """
    if start in members:
        encoder = members[start].model.encoder.state_dict()  # type: ignore[attr-defined]  # of a network on stamps
    elif Path(start).is_file():
        encoder = _read(Path(start))
    else:
        raise ValueError(f"settings.start: '{start}': no such file; name a checkpoint.pt, or a network of this run")
    several = "members.0."
    if any(name.startswith(several) for name in encoder):
        return {name.removeprefix(several): each for name, each in encoder.items() if name.startswith(several)}
    return dict(encoder)


def _read(file: Path) -> dict[str, Tensor]:
    from skymill.models.torch_file import load_tensors

    try:
        content = load_tensors(file)
    except Exception as error:  # torch raises what it finds: RuntimeError, EOFError, those of pickle
        raise ValueError(
            f"settings.start: '{file}': no checkpoint that can be read ({type(error).__name__}); copy it again"
        ) from error
    if not isinstance(content, dict) or "encoder" not in content:
        raise ValueError(f"settings.start: '{file}': holds no network on stamps; name the checkpoint.pt of one")
    return content["encoder"]


def start_from(encoder: nn.Module, tensors: Mapping[str, Tensor], *, start: str) -> None:
    """Put tensors into an encoder that has just been drawn.

    Raises
    ------
    ValueError
        If one that it needs is not there or has another shape.
    """
    own = encoder.state_dict()
    for name, drawn in own.items():
        given = tensors.get(name)
        if name in OWN or (name.startswith(LAST) and given is not None and given.shape != drawn.shape):
            continue
        if given is None or given.shape != drawn.shape:
            found = "nothing" if given is None else tuple(given.shape)
            raise ValueError(
                f"settings.start: '{start}': expected {name} of shape {tuple(drawn.shape)}, found {found}; set width, "
                "stages, depth and the bands of the stamps as there"
            )
        own[name] = given
    encoder.load_state_dict(own)

"""An encoder made elsewhere, as it is, and a linear probe on the vectors that it makes of stamps.

The probe is a multinomial logistic regression on standardised vectors, as representations are judged by (Alain & Bengio
2016, arXiv:1610.01644). The encoder is an ONNX file; not one of its weights is changed.
"""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from skymill.config import base
from skymill.models.cleaning import softmax
from skymill.models.registry import Examples, Place, register
from skymill.sessions.entry import ENTRY, ModelFileError

if TYPE_CHECKING:
    from skymill.config.model import StampSettings

PROBE, ENCODER, FORM = "probe.npz", "encoder.onnx", "encoder.json"
BLOCK_STAMPS = 256
ITERATIONS = 1000
BANDS_LAST = (0, 2, 3, 1)
"""Axes of an encoder's stamps (n, k, k, bands) among those of ours."""


class FrozenSettings(base.Settings):
    """The encoder, and how strongly the probe is held back."""

    encoder: str = ""
    """The ONNX file; needed. Its first axis is free, its output (n, vector)."""
    flux: str = "flux"
    """Name of the input that takes flux, nJy."""
    inverse_variance: str = "inverse_variance"
    """Name of the input that takes its inverse variance, 1 / nJy^2; empty for an encoder that takes flux alone."""
    output: str = ""
    """Name of the output that is the vector; may be empty where the file has one output."""
    layout: Literal["bands_first", "bands_last"] = "bands_first"
    """Stamps are (n, bands, k, k), or (n, k, k, bands)."""
    inverse_regularisation: float = Field(1.0, gt=0)
    """C of scikit-learn's LogisticRegression: the higher, the less the probe's weights are held back."""


@register("frozen")
class Frozen:
    """A linear probe of a frozen encoder. Export reads `content`, `form`, `weights` and `bias`."""

    kind: ClassVar[str]
    Settings: ClassVar[type[base.Settings]] = FrozenSettings

    def __init__(
        self, content: bytes, form: dict[str, str], weights: NDArray[np.float32], bias: NDArray[np.float32]
    ) -> None:
        self.content = content
        self.form = form
        """Names of `flux`, `inverse_variance` and `output`; `layout`."""
        self.weights = weights
        """(vector, classes); the standardisation is folded in."""
        self.bias = bias
        """(classes,)"""

    @classmethod
    def fit(cls, train: Examples, validation: Examples, settings: FrozenSettings, *, seed: int, place: Place) -> Self:
        """Encode stamps (n, 2, bands, k, k) and fit the probe on their vectors; `validation` takes no part."""
        from sklearn.linear_model import LogisticRegression

        path = Path(settings.encoder)
        form = settings.model_dump(include={"flux", "inverse_variance", "output", "layout"})
        form["output"] = settings.output or _only_output(path)
        probe = cls(path.read_bytes(), form, np.zeros((0, 0), np.float32), np.zeros(0, np.float32))
        vectors = probe.encode(train.features).astype(np.float64)
        mean, scale = vectors.mean(axis=0), vectors.std(axis=0)
        scale[scale == 0] = 1.0
        # With two classes scikit-learn keeps one score; the softmax of (0, score) is its logistic function.
        fitted = LogisticRegression(C=settings.inverse_regularisation, max_iter=ITERATIONS)
        fitted.fit((vectors - mean) / scale, train.labels, sample_weight=train.weights)
        slopes, offsets = fitted.coef_, fitted.intercept_
        if train.n_classes == 2:
            slopes, offsets = np.vstack([np.zeros_like(slopes), slopes]), np.append(0.0, offsets)
        weights = (slopes / scale).T
        return cls(probe.content, form, weights.astype(np.float32), (offsets - mean @ weights).astype(np.float32))

    @staticmethod
    def check_stamps(settings: FrozenSettings, stamps: StampSettings, *, source: str) -> None:
        """Hold an encoder against the stamps that it will be given.

        Raises
        ------
        ModelFileError
            If the file is not there or no such model, or takes stamps of another size, other bands or another pixel
            scale: the last two where its metadata entry ``skymill`` has `stamps`.
        """
        path = Path(settings.encoder)
        if not path.is_file():
            raise ModelFileError(f"{source}: settings.encoder: '{path}': no such file; name the encoder's ONNX file")
        session = _session(path.read_bytes(), str(path))
        _check_shapes(session, settings, stamps, path)
        entry = json.loads(session.get_modelmeta().custom_metadata_map.get(ENTRY, "{}"))
        declared = entry.get("stamps") or {}
        for name, value in stamps.model_dump(mode="json").items():
            if name in declared and declared[name] != value:
                raise ModelFileError(
                    f"{path}: made for stamps with {name} {declared[name]}, model {source} has {value}; set "
                    f"`stamps.{name}` to what the encoder takes, or use another encoder"
                )

    @cached_property
    def _encoder(self) -> Any:
        return _session(self.content, ENCODER)

    def encode(self, stamps: NDArray[np.float32]) -> NDArray[np.float32]:
        """Give the vectors, float32 (n, vector), of stamps (n, 2, bands, k, k)."""
        blocks = []
        for start in range(0, len(stamps), BLOCK_STAMPS):
            some = np.array(stamps[start : start + BLOCK_STAMPS], dtype=np.float32)
            given = {self.form["flux"]: some[:, 0]}
            if self.form["inverse_variance"]:
                given[self.form["inverse_variance"]] = some[:, 1]
            if self.form["layout"] == "bands_last":
                given = {name: values.transpose(BANDS_LAST) for name, values in given.items()}
            given = {name: np.ascontiguousarray(values) for name, values in given.items()}
            blocks.append(self._encoder.run([self.form["output"]], given)[0])
        return np.concatenate(blocks)

    def predict_probabilities(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Give probabilities, float32 (n, classes), of vectors (n, vector)."""
        scores = features.astype(np.float64) @ self.weights.astype(np.float64) + self.bias
        return softmax(scores).astype(np.float32)

    def save(self, folder: Path) -> list[str]:
        """Write the encoder's own bytes, what its tensors are called, and the probe."""
        (folder / ENCODER).write_bytes(self.content)
        (folder / FORM).write_text(json.dumps(self.form, sort_keys=True) + "\n")
        np.savez(folder / PROBE, weights=self.weights, bias=self.bias)
        return [ENCODER, FORM, PROBE]

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        with np.load(folder / PROBE) as stored:
            weights, bias = stored["weights"], stored["bias"]
        return cls((folder / ENCODER).read_bytes(), json.loads((folder / FORM).read_text()), weights, bias)

    def history(self) -> list[dict[str, float]]:
        """A probe has no epochs."""
        return []


def _session(content: bytes, source: str) -> Any:
    from skymill.sessions.runtime import open_session

    return open_session(content, provider="cpu", source=source)


def _only_output(path: Path) -> str:
    return str(_session(path.read_bytes(), str(path)).get_outputs()[0].name)


def _check_shapes(session: Any, settings: FrozenSettings, stamps: StampSettings, path: Path) -> None:
    wanted: tuple[int, ...] = (len(stamps.bands), stamps.size_px, stamps.size_px)
    wanted = wanted if settings.layout == "bands_first" else (*wanted[1:], wanted[0])
    names = [name for name in (settings.flux, settings.inverse_variance) if name]
    inputs, outputs = ({each.name: each for each in some} for some in (session.get_inputs(), session.get_outputs()))
    if sorted(inputs) != sorted(names):
        raise ModelFileError(
            f"{path}: expected the inputs {', '.join(names)}, found {', '.join(inputs)}; set `settings.flux` and "
            "`settings.inverse_variance` to the encoder's names"
        )
    for name in names:
        shape = inputs[name].shape
        fits = len(shape) == 4 and all(
            found == side or isinstance(found, str) for found, side in zip(shape[1:], wanted)
        )
        if not fits or isinstance(shape[0], int) or inputs[name].type != "tensor(float)":
            raise ModelFileError(
                f"{path}: expected '{name}' to be float32 (n, {', '.join(map(str, wanted))}) with a free first axis, "
                f"found {inputs[name].type} {tuple(shape)}; set `stamps` (size_px, bands) or `settings.layout` to match"
            )
    if settings.output not in outputs if settings.output else len(outputs) != 1:
        raise ModelFileError(
            f"{path}: expected one output to be the vector, found '{settings.output}' of {', '.join(outputs)}; set "
            "`settings.output`"
        )
    form = outputs[settings.output or next(iter(outputs))]
    if len(form.shape) != 2 or form.type != "tensor(float)":
        raise ModelFileError(
            f"{path}: expected '{form.name}' to be float32 (n, vector), found {form.type} {tuple(form.shape)}; end "
            "the encoder with a mean over the pixels"
        )

"""Opening an ONNX file with ONNX Runtime: one thread, no spinning, on the asked-for device or not at all."""

from __future__ import annotations

import os
from typing import Any

from skymill.sessions.containment import check_self_contained
from skymill.sessions.entry import ModelFileError

PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}


class ProviderError(RuntimeError):
    """The asked-for execution provider is not there."""


def open_session(content: bytes, *, provider: str, source: str) -> Any:
    """Open an ONNX file.

    Parameters
    ----------
    content : bytes
        The file.
    provider : {"cpu", "cuda", "tensorrt"}
    source : str
        Where the file came from, for messages.

    Returns
    -------
    onnxruntime.InferenceSession

    Raises
    ------
    ProviderError
        If ONNX Runtime lacks the provider, or falls back to another one.
    ModelFileError
        If the file is not a model that ONNX Runtime can run, or needs other files.
    """
    check_available(provider)
    check_self_contained(content, source=source)
    onnxruntime = _onnxruntime()
    try:
        session = onnxruntime.InferenceSession(
            content, _options(onnxruntime), providers=[(PROVIDERS[provider], _device_options(provider))]
        )
    except Exception as error:  # the errors of ONNX Runtime have no common base but this
        raise ModelFileError(f"{source}: ONNX Runtime cannot open it: {error}") from error
    session.disable_fallback()
    refuse_fallback(session.get_providers(), provider)
    return session


def check_available(provider: str) -> None:
    """Check that this installation of ONNX Runtime knows a provider.

    Raises
    ------
    ProviderError
        If it does not.
    """
    available = _onnxruntime().get_available_providers()
    if PROVIDERS[provider] not in available:
        raise ProviderError(
            f"provider '{provider}' needs {PROVIDERS[provider]}, this onnxruntime has {', '.join(available)}; "
            "install onnxruntime-gpu (pip install 'skymill[gpu]') or set inference.provider: cpu"
        )


def _onnxruntime() -> Any:
    """Import ONNX Runtime, of whose two builds only one may be installed; hence neither is a plain dependency."""
    try:
        import onnxruntime
    except ImportError as error:
        raise ProviderError(
            f"ONNX Runtime cannot be imported ({error}); pip install 'skymill[cpu]', or 'skymill[gpu]' on a machine "
            "with CUDA"
        ) from error
    return onnxruntime


def refuse_fallback(used: list[str], provider: str) -> None:
    """Check that a session runs where it was asked to.

    Raises
    ------
    ProviderError
        If `used`, the session's providers in order of preference, does not begin with the one asked for.
    """
    if used[:1] != [PROVIDERS[provider]]:
        raise ProviderError(
            f"asked for provider '{provider}' ({PROVIDERS[provider]}), ONNX Runtime fell back to {', '.join(used)}; "
            "check the GPU driver and the CUDA libraries, or set inference.provider: cpu"
        )


def _options(onnxruntime: Any) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    options.log_severity_level = 3
    return options


def _device_options(provider: str) -> dict[str, str]:
    """Options of a GPU: no more memory than asked for, and float32 as it is, which the parity gate has compared.

    With TF32, on by default, products keep 10 bits: probabilities then move by up to 0.008.
    """
    if provider == "cpu":
        return {}
    os.environ["NVIDIA_TF32_OVERRIDE"] = "0"  # also for TensorRT, which has no option for it
    return {"arena_extend_strategy": "kSameAsRequested", "use_tf32": "0"} if provider == "cuda" else {}

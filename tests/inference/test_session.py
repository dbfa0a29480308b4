"""Sessions: the contract, the provider, the threads."""

from __future__ import annotations

import hashlib
import sys

import onnxruntime
import pytest

from skymill.inference.session import Session, load_session
from skymill.sessions.entry import ModelFileError
from skymill.sessions.runtime import PROVIDERS, ProviderError, check_available, open_session, refuse_fallback


@pytest.mark.parametrize("provider", ["cuda", "tensorrt"])
def test_a_provider_that_is_not_there_is_an_error(lab, provider):
    if PROVIDERS[provider] in onnxruntime.get_available_providers():
        pytest.skip(f"this onnxruntime has {PROVIDERS[provider]}")
    message = f"provider '{provider}' needs {PROVIDERS[provider]}, this onnxruntime has .*CPU"
    with pytest.raises(ProviderError, match=message):
        Session(lab.model_bytes(), provider=provider, source="test")


def test_without_onnx_runtime_the_error_names_its_two_builds(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)  # as Python has it of a module that cannot be imported
    with pytest.raises(ProviderError, match=r"pip install 'skymill\[cpu\]', or 'skymill\[gpu\]'"):
        check_available("cpu")


def test_a_silent_fallback_is_refused():
    with pytest.raises(ProviderError, match=r"asked for provider 'tensorrt'.*fell back to CUDAExecutionProvider"):
        refuse_fallback(["CUDAExecutionProvider", "CPUExecutionProvider"], "tensorrt")
    refuse_fallback(["CUDAExecutionProvider", "CPUExecutionProvider"], "cuda")


def test_a_session_has_one_thread_and_does_not_spin(lab):
    options = open_session(lab.model_bytes(), provider="cpu", source="test").get_session_options()
    assert options.intra_op_num_threads == options.inter_op_num_threads == 1
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"


def test_a_file_is_opened_once_per_process_and_held_to_its_digest(lab):
    sha256 = hashlib.sha256(lab.onnx.read_bytes()).hexdigest()
    assert load_session(str(lab.onnx), sha256, "cpu") is load_session(str(lab.onnx), sha256, "cpu")
    with pytest.raises(ModelFileError, match="expected SHA-256 0000"):
        load_session(str(lab.onnx), "0" * 64, "cpu")


def test_a_file_that_is_no_model_is_named():
    with pytest.raises(ModelFileError, match=r"some/file\.onnx: ONNX Runtime cannot open it"):
        open_session(b"not a model", provider="cpu", source="some/file.onnx")

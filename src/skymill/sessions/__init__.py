"""ONNX files of any kind: what they say of themselves, and sessions of ONNX Runtime that run them."""

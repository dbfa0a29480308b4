"""Trained models to ONNX, and the parity gate."""

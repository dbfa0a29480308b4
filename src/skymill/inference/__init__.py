"""ONNX inference over tiles."""

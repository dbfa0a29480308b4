"""Sources found by a learned segmenter, an ONNX file, in place of detection."""

MODULE = "skymill.features.segmenting.segmenter"
"""What opens the file. It is imported by this name, so that its code enters the keys of runs with a segmenter alone."""

"""Training sets, sky splits, fitting, calibration and metrics."""

"""Pages and plots a person reads."""

PLOTS_OF_MODELS = ("confusion", "calibration", "magnitude", "thresholds", "importance")
"""Galleries with one figure of each trained model: `plots/<model>-<gallery>.svg`."""
PLOTS_OF_SKY = ("density", "entropy")
"""Maps: `plots/sky-<gallery>.svg`, the fields of a survey beside each other."""


def __getattr__(name: str) -> object:
    if name == "page":
        from skymill.report.writing import page

        return page
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

"""Pages and plots a person reads."""


def __getattr__(name: str) -> object:
    if name == "page":
        from skymill.report.writing import page

        return page
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

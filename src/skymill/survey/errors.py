"""What is wrong with an input table."""


class TableError(ValueError):
    """A table is not what its column map says; the message names file, column, what was found and the mend."""

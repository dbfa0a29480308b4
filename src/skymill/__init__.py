"""From survey pixels and source tables to machine-learning catalogues in one command."""

__version__ = "0.1.0"

"""The skymill command."""

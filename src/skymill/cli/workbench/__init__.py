"""Commands for who builds a model: one of a run's models alone, beside the workflow."""

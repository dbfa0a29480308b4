"""The model zoo, one file a model."""

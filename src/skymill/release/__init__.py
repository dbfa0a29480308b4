"""Seal versions of catalogues."""

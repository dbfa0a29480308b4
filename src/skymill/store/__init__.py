"""Tiles, keys, manifests, sealed versions and reading a catalogue."""

"""Positions on the sphere: HEALPix indices, cones and coverage."""

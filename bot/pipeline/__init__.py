"""Moves things from stage to stage."""

"""The model: what a post reports, where, and how sure. Knows nothing of `bot`; usable alone.

Import `classifiers.api` for the types (standard library and numpy only) and `classifiers.encoder` to load the
shipped model. This file imports nothing, so that importing the types stays cheap.
"""

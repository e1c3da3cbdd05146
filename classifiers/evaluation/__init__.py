"""What a model is measured with: scores, baselines beside it, pictures, and the sets that are never shipped.

What `python -m classifiers evaluate` composes, with cross-validation over happenings. `baselines` and `pictures` need
the extra `train`. This file imports nothing.
"""

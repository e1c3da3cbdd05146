"""The words of the chatter, one module per language.

Each module has EVERYDAY and LOADED (sentences with `{slots}`; loaded ones carry crisis words in a harmless sense),
WORDS (what may stand in a slot) and TAILS (what people put after a sentence).
"""

"""Discord: gateway, embeds."""

import warnings

# discord.py imports audioop, for voice, which is deprecated from Python 3.11 on; it is of no concern here.
with warnings.catch_warnings():
    warnings.filterwarnings("ignore", message=".*audioop", category=DeprecationWarning)
    import discord as discord

"""The command line. ``main`` is the command; each module adds its own."""

from bot.cli import looking, organisations, running, withdrawing
from bot.cli.root import main

__all__ = ["looking", "main", "organisations", "running", "withdrawing"]

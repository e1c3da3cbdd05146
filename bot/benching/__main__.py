"""The child of ``whole.measure``: ``python -m bot.benching POSTS.jsonl THREADS [MODEL]``."""

import asyncio
import sys
from pathlib import Path

from bot import config, logs
from bot.benching import whole


def main(file: str, threads: str, model: str | None = None) -> None:
    """Progress and then the result, as JSON lines on stdout."""
    logs.configure(level="warning")
    settings = config.Model(path=None if model is None else Path(model), threads=int(threads))
    whole.tell(asyncio.run(whole.run(file, settings)))


if __name__ == "__main__":
    main(*sys.argv[1:])

"""The child of ``whole.measure``: ``python -m bot.benching POSTS.jsonl MODEL``, the settings of [model] as JSON."""

import asyncio
import sys

from bot import config, logs
from bot.benching import whole


def main(file: str, model: str) -> None:
    """Progress and then the result, as JSON lines on stdout."""
    logs.configure(level="warning")
    whole.tell(asyncio.run(whole.run(file, config.Model.model_validate_json(model))))


if __name__ == "__main__":
    main(*sys.argv[1:])

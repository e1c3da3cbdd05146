"""What ``child`` starts: ``python -m bot.benching whole POSTS.jsonl MODEL`` (the settings of [model] as JSON) or
``python -m bot.benching detection [LIVE]``, which may also be run alone."""

import asyncio
import sys

from bot import config, logs
from bot.benching import child, detection, whole


def main(part: str, *arguments: str) -> None:
    """Progress and then the result, as JSON lines on stdout. Raises ValueError for a part that is not there."""
    logs.configure(level="warning")
    match part, arguments:
        case "whole", (file, model):
            child.tell(asyncio.run(whole.run(file, config.Model.model_validate_json(model))))
        case "detection", ():
            child.tell(detection.run(detection.LIVE))
        case "detection", (live,):
            child.tell(detection.run(int(live)))
        case _:
            raise ValueError(f"{part} {arguments}: whole FILE MODEL or detection [LIVE]")


if __name__ == "__main__":
    main(*sys.argv[1:])

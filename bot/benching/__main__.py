"""What ``child`` starts: ``python -m bot.benching whole POSTS.jsonl MODEL`` (the settings of [model] as JSON) or
``python -m bot.benching detection [LIVE]``, which may also be run alone; and what ``chat_server`` and
``jetstream_server`` start."""

import asyncio
import sys

from bot import config, logs
from bot.benching import chat_server, child, detection, jetstream_server, whole


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
        case "chat-server", (("free" | "enforce") as limits,):
            asyncio.run(chat_server.run(enforce=limits == "enforce"))
        case "jetstream-server", (frames,):
            asyncio.run(jetstream_server.run(int(frames)))
        case _:
            raise ValueError(
                f"{part} {arguments}: whole FILE MODEL, detection [LIVE], chat-server free|enforce or "
                "jetstream-server FRAMES"
            )


if __name__ == "__main__":
    main(*sys.argv[1:])

"""The bundled rehearsal: three hours of a fictional afternoon, 2031-05-14 from 14:00 UTC, as Post lines.

`scenario.posts()` gives them in order: happenings written one by one (`happenings.jsonl`) amid chatter made by a
grammar (`chatter.py`, words in `phrases/`). `truth.py` knows which post belongs to which happening. Towns, persons,
accounts and events are invented.
"""

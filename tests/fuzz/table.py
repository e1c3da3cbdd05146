"""Everything in ``bot.ingest`` that reads what strangers send."""

from tests.fuzz import polled, streams, texts

TABLE = (*streams.TABLE, *polled.TABLE, *texts.TABLE)

"""What the SDK logs goes through our filter: errors only, without tokens and socket tickets."""

import logging

import pytest

from bot.platforms.slack import connection


def test_tokens_and_tickets_do_not_reach_the_log(caplog: pytest.LogCaptureFixture) -> None:
    logger = connection.sdk_logger()
    try:
        raise OSError("no wss://wss-primary.slack.com/link/?ticket=secret-1&app_id=2")
    except OSError as error:
        logger.exception("Failed to connect (error: %s); token xoxb-12-secret-3, xapp-1-A-secret", error)
    logger.warning("a payload with the text of a post")
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert "Failed to connect" in caplog.text
    assert "secret-" not in caplog.text
    assert "A-secret" not in caplog.text
    assert "text of a post" not in caplog.text

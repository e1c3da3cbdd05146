"""Server-sent events: what is too long is dropped, however it is cut into lines."""

from bot.ingest import sse


def test_empty_lines_of_data_count_towards_what_an_event_may_hold() -> None:
    parser = sse.Parser()
    for _ in range(40):
        assert list(parser.feed(b"data:\n" * 100_000)) == []
    assert list(parser.feed(b"\ndata: next\n\n")) == [sse.Event(data=b"next")]
    assert parser.dropped == 1


def test_an_event_may_have_empty_lines() -> None:
    assert list(sse.Parser().feed(b"data:\ndata:\ndata: a\n\n")) == [sse.Event(data=b"\n\na")]


def test_an_event_of_ten_megabytes_is_dropped_and_the_next_is_read() -> None:
    parser = sse.Parser()
    for piece in [b"id: 1\ndata: ", *[b"x" * 65_536] * 160, b"\n\nid: 2\ndata: next\n\n"]:
        found = list(parser.feed(piece))
    assert found == [sse.Event(data=b"next", id="2")]
    assert parser.dropped == 1
    assert len(parser._buffer) == 0

"""XML and HTML from strangers: bombs are refused, mistakes are borne, and nothing hangs."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.ingest import documents, markup
from bot.ingest.polling import UnreadableError

LAUGHS = (
    '<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY lol0 "lol">'
    + "".join(f'<!ENTITY lol{number + 1} "{f"&lol{number};" * 10}">' for number in range(9))
    + "]><rss>&lol9;</rss>"
)
EXTERNAL = '<!DOCTYPE rss [<!ENTITY file SYSTEM "file:///etc/hostname">]><rss>&file;</rss>'
PARAMETER = '<!DOCTYPE rss [<!ENTITY % more SYSTEM "http://127.0.0.1/more.dtd"> %more;]><rss/>'


@pytest.mark.parametrize("document", [LAUGHS, EXTERNAL, PARAMETER, "<!DOCTYPE rss [<!ELEMENT rss ANY>]><rss/>"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_a_document_that_declares_entities_is_refused(document: str, encoding: str) -> None:
    with pytest.raises(UnreadableError, match="refused"):
        documents.parse(document.encode(encoding))


def test_a_document_type_without_declarations_is_borne_and_never_looked_up() -> None:
    root = documents.parse(b'<!DOCTYPE rss SYSTEM "file:///etc/hostname"><rss>a&unknown;b</rss>')
    assert root.text() in ("ab", "a&unknown;b")


@pytest.mark.parametrize(
    "body",
    [
        "<rss>caf\u00e9</rss>".encode(),
        "<rss>caf\u00e9</rss>".encode("utf-8-sig"),
        "<rss>caf\u00e9</rss>".encode("utf-16"),
        "<rss>caf\u00e9</rss>".encode("utf-32"),
        '<?xml version="1.0" encoding="utf-8"?><rss>caf\u00e9</rss>'.encode("latin-1"),
        '<?xml version="1.0" encoding="windows-1252"?><rss>caf\u00e9</rss>'.encode("windows-1252"),
        '<?xml version="1.0" encoding="utf-16"?><rss>caf\u00e9</rss>'.encode(),
        '<?xml version="1.0" encoding="rot13"?><rss>caf\u00e9</rss>'.encode(),
        '<?xml version="1.0" encoding="gb18030"?><rss>caf\u00e9</rss>'.encode("gb18030"),
        '<?xml version="1.0" encoding="utf-16"?><rss>caf\u00e9</rss> '.encode(),
        "<rss>caf\u00e9</rss>".encode("utf-16-le"),
        b"<rss>caf&eacute;</rss>",
        b"\n <?xml version='1.0'?><rss>caf&#233;</rss>",
        b"<rss>ca\x00f\x0b&eacute;</rss>",
    ],
)
def test_every_encoding_is_read(body: bytes) -> None:
    assert documents.parse(body).text() == "caf\u00e9"


def test_the_charset_of_http_counts_where_the_document_says_nothing() -> None:
    assert documents.parse("<rss>ж</rss>".encode("koi8-r"), "koi8-r").text() == "ж"


def test_latin_1_means_what_everybody_means_by_it() -> None:
    quoted = "<rss>\u201cfire\u201d \u20ac</rss>"
    for declared in ("iso-8859-1", "ISO8859-1", "latin1"):
        assert documents.parse(quoted.encode("windows-1252"), declared).text() == "\u201cfire\u201d \u20ac"


@pytest.mark.parametrize("said", ["utf-16", "utf-32", "utf-7", "base64", "idna", "unicode_escape", "no-such"])
def test_a_charset_that_cannot_be_is_not_believed(said: str) -> None:
    """Neither read as something else, nor made to unpack anything."""
    for body in ("<rss>+ADw-b+AD4- \\u003cb ж</rss>", "<rss>+ADw-b+AD4- \\u003cb ж</rss> "):
        assert documents.parse(body.encode(), said).text() == "+ADw-b+AD4- \\u003cb ж"


def test_chinese_is_read() -> None:
    for name in ("gbk", "gb2312", "gb18030", "big5"):
        assert documents.parse("<rss>火山</rss>".encode(name), name).text() == "火山"


def test_mistakes_are_borne() -> None:
    assert documents.parse(b"<rss><t>Fire & smoke</t></rss>").text("t") == "Fire & smoke"
    assert documents.parse(b"<rss><dc:t>never declared</dc:t></rss>").text("dc:t") == "never declared"


def test_only_so_many_mistakes_are_borne() -> None:
    head = b"<rss><t>first</t><item>"
    for bare in (b"& ", b"&nbsp;"):
        few = documents.parse(head + bare * 10 + b"</item><u>last</u></rss>")
        assert (few.text("t"), few.text("u")) == ("first", "last")
        many = documents.parse(head + bare * (9_000_000 // len(bare)) + b"</item><u>last</u></rss>")
        assert (many.text("t"), many.text("u")) == ("first", "")


def test_an_entry_that_is_cut_off_is_left_out() -> None:
    for end in ("", "<t>tw", "<t>two</t>", "<t>two</t><", "</t>"):
        cut = documents.parse(f"<rss><channel><item><t>one</t></item><item>{end}".encode())
        assert [item.text("t") for item in next(cut.children).all("item")] == ["one"]


def test_no_named_entity_becomes_markup() -> None:
    assert documents.parse(b"<rss>&LT;b&GT; &eacute; &amp;nbsp; &nosuch;</rss>").text() == "<b> \u00e9 &nbsp; &nosuch;"


@pytest.mark.parametrize(
    "body",
    [
        b"<a>" * 3_000_000,
        b"<r>" + b"<a/>" * 2_400_000,
        b"<" * 9_900_000,
        b"\0" * 9_900_000,
        b"<r " + b" ".join(b'a%d="1"' % number for number in range(700_000)),
        b"<?xml " * 1_600_000,
        b"",
        b"{}",
    ],
    ids=["deep", "wide", "open", "nul", "attributes", "declarations", "empty", "json"],
)
def test_ten_megabytes_of_malice_are_refused(body: bytes) -> None:
    with pytest.raises(UnreadableError):
        documents.parse(body)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("plain &amp; simple", "plain & simple"),
        ("<p>One</p><p>two<br/>three</p>", "One\ntwo\nthree"),
        ('<a href="https://example.org/x?a>b">the words</a> stay', 'b">the words stay'),
        ("<script>alert(1)</script>seen<style>p{}</style>", "seen"),
        ("1 < 2 and 3 > 2", "1 < 2 and 3 > 2"),
        ("<!-- a > b -->after", "after"),
        ("open <b", "open <b"),
        ("&lt;script&gt;", "<script>"),
        ("nul\0 &#0;", "nul\N{REPLACEMENT CHARACTER} \N{REPLACEMENT CHARACTER}"),
    ],
)
def test_html_becomes_text(written: str, expected: str) -> None:
    assert markup.text(written) == expected


@given(st.text(alphabet="<>/!-ab&;\"' \n\0", max_size=300) | st.text(max_size=300))
@settings(max_examples=300, deadline=None)
def test_text_of_anything_can_be_stored(written: str) -> None:
    assert "\0" not in markup.text(written)


@pytest.mark.parametrize("piece", ["<a", "<!--", "< ", "<p>", "&amp", "\n ", "<a href='", "</", "<script>"])
def test_a_lot_of_anything_takes_no_time(piece: str) -> None:
    assert len(markup.text(piece * 2_000_000)) <= 100_000


def test_a_character_number_that_no_computer_reads_stays_as_it_is() -> None:
    monstrous = "&#" + "9" * 5_000 + ";"
    assert markup.unescaped(monstrous) == monstrous
    assert markup.text(f"<p>Fire &amp; smoke {monstrous}</p>").startswith("Fire")

"""RSS 0.9x, 1.0 and 2.0, Atom 0.3 and 1.0: bytes in, entries out. Pure.

Publishers are careless, so whatever makes sense is taken: an entry needs a title or a summary, everything else may be
missing. It is called by its guid or id, else by its link, else by a hash of its words (see ``feed_names``).
"""

import hashlib
import re
from dataclasses import dataclass
from datetime import datetime

from yarl import URL

from bot.domain import post
from bot.ingest import documents, feed_elements, lines, markup
from bot.ingest.documents import Node
from bot.ingest.polling import UnreadableError

MOST_ENTRIES = 1_000
_LONGEST_ID = 1_000
_ROOTS = frozenset(("rss", "rdf:RDF", "RDF", "feed"))
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(?:-[A-Za-z0-9]{1,8}){0,3}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """``published``: when it first was. ``updated``: when its words were last changed, as far as it says.

    ``names``: what the feed calls it, the best first; ``id`` is that one until others prove to have it as well.
    ``dated``: does it say itself when it was published?
    """

    id: str
    names: tuple[str, ...]
    text: str
    dated: bool = False
    published: datetime | None = None
    updated: datetime | None = None
    url: str | None = None
    author: str | None = None
    langs: tuple[str, ...] = ()
    lat: float | None = None
    lon: float | None = None
    media: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """Short and fixed, for the cursor."""
        return hashlib.blake2b(self.id.encode("utf-8", "replace"), digest_size=9).hexdigest()

    @property
    def version(self) -> str:
        return hashlib.blake2b(self.text.encode("utf-8", "replace"), digest_size=6).hexdigest()


def decode(body: bytes, charset: str | None, base: URL) -> tuple[list[Entry], int]:
    """In the order of the feed; and how many entries held nothing. Raises UnreadableError."""
    root = documents.parse(body, charset)
    if root.name not in _ROOTS:
        raise UnreadableError("sent something that is neither RSS nor Atom")
    channel = root if root.name == "feed" else root.first("channel") or root
    langs = _langs(channel.text("language", "dc:language") or channel.attributes.get("xml:lang", ""))
    nodes = [*channel.all("item"), *channel.all("entry")] or root.all("item")
    read = [_entry(node, base, langs) for node in nodes[:MOST_ENTRIES]]
    entries = [entry for entry in read if entry is not None]
    return entries, len(read) - len(entries)


def _entry(node: Node, base: URL, langs: tuple[str, ...]) -> Entry | None:
    title = _words(node.first("title"))
    summary = _words(node.first("description", "summary", "content:encoded", "content", "tagline"))
    text = lines.clean(markup.tidy(title if title == summary else f"{title}\n{summary}"))
    if not text:
        return None
    link = _link(node, base)
    own = node.text("guid", "id") or node.attributes.get("rdf:about", "")
    updated = feed_elements.moment(node.text("updated", "modified", "dcterms:modified"))
    published = feed_elements.moment(
        node.text("pubDate", "published", "issued", "dcterms:issued", "dc:date", "created")
    )
    lat, lon = feed_elements.point(node)
    names = tuple(dict.fromkeys(_id(each) for each in (own, link) if each)) or (_hash(text),)
    return Entry(
        id=names[0],
        names=names,
        text=text,
        dated=published is not None,
        published=published or updated,
        updated=updated or published,
        url=link,
        author=_author(node),
        langs=_langs(node.attributes.get("xml:lang", "") or node.text("dc:language")) or langs,
        lat=lat,
        lon=lon,
        media=_media(node, base),
    )


def _id(named: str) -> str:
    return post.unversioned(named if len(named) <= _LONGEST_ID else _hash(named))


def _hash(text: str) -> str:
    return f"hash:{hashlib.blake2b(text.encode('utf-8', 'replace'), digest_size=12).hexdigest()}"


def _words(node: Node | None) -> str:
    """Of a text, of escaped HTML, or of XHTML that stands there as elements."""
    if node is None:
        return ""
    if any(True for _ in node.children):
        return markup.tidy(" ".join(node.texts()))
    written = node.text()
    if node.attributes.get("type") in ("text", "text/plain") and node.attributes.get("mode") != "escaped":
        return markup.tidy(written)
    return markup.text(written)


def _link(node: Node, base: URL) -> str | None:
    """RSS's link is a text, Atom's an attribute; a guid is one too unless it says that it is not."""
    for link in node.all("link"):
        if link.attributes.get("rel", "alternate") == "alternate":
            found = _address(link.attributes.get("href") or link.text(), base)
            if found is not None:
                return found
    guid = node.first("guid")
    if guid is not None and guid.attributes.get("isPermaLink", "true") == "true" and "://" in guid.text():
        return _address(guid.text(), base)
    return None


def _address(text: str, base: URL) -> str | None:
    if not text or len(text) > 2_000:
        return None
    try:
        found = base.join(URL(text))
    except (ValueError, IndexError):  # yarl's, for a host that is none
        return None
    return str(found) if found.scheme in ("http", "https") and found.raw_host else None


def _author(node: Node) -> str | None:
    """A publisher's byline is no account; it is kept as a hash, to tell voices apart."""
    author = node.first("author", "dc:creator")
    name = "" if author is None else author.text("name") or author.text()
    return hashlib.blake2b(name.encode("utf-8", "replace"), digest_size=8).hexdigest() if name else None


def _media(node: Node, base: URL) -> tuple[str, ...]:
    links = [each.attributes.get("url", "") for each in node.all("enclosure")]
    links += [each.attributes.get("href", "") for each in node.all("link") if each.attributes.get("rel") == "enclosure"]
    return tuple(address for link in links[:10] if (address := _address(link, base)) is not None)


def _langs(tag: str) -> tuple[str, ...]:
    return lines.languages([tag]) if _LANGUAGE.fullmatch(tag) else ()

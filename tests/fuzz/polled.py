"""Documents that are polled: feeds and official warnings, as XML and as GeoJSON."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from yarl import URL

from bot.ingest import (
    documents,
    feed,
    feed_entries,
    gdacs,
    gdacs_events,
    geojson,
    meteoalarm,
    meteoalarm_warnings,
    nws,
    nws_alerts,
    usgs,
    usgs_quakes,
)
from bot.ingest.fetching import Answer
from bot.ingest.polling import Asked, Place, Reading, UnreadableError
from tests.fuzz.decoding import NOW, Decoder, as_json


def _collection(*features: Any, **more: Any) -> dict[str, Any]:
    return {"type": "FeatureCollection", "features": list(features)} | more


def _polled(make: Callable[[], Reading], address: str) -> Callable[[bytes], object]:
    """Read twice, the second time with what the first left known; its questions answered, once by nobody and once by
    the document itself. The cursor that holds what is known is read back."""

    def read(body: bytes) -> object:
        reading, place, found = make(), Place(), []
        for turn in range(2):
            asked = Asked(
                now=NOW + turn * timedelta(minutes=1),
                since=None if turn == 0 else NOW,
                address=URL(address),
                known=dict(place.known),
            )
            told = reading.read(body, None, asked)
            if told.questions:
                answers = {each: None if turn == 0 else Answer(status=200, body=body) for each in told.questions}
                asked = Asked(
                    now=asked.now, since=asked.since, address=asked.address, known=asked.known, answers=answers
                )
                told = reading.read(body, None, asked)
            for step in told.steps:
                place.remember(step.remember)
            found.append(told)
        if Place.parse("fuzz", place.cursor) != place:
            raise AssertionError("the cursor does not say what it should")
        return found

    return read


_ALERT = {
    "properties": {
        "@id": "https://alerts.example/a1", "id": "a1", "status": "Actual", "messageType": "Update",
        "event": "Tornado Warning", "severity": "Extreme", "certainty": "Observed", "urgency": "Immediate",
        "areaDesc": "Selby County; Harlow County", "sent": "2031-05-14T11:59:00+00:00", "senderName": "NWS Port Calder",
        "expires": "2031-05-14T13:00:00+00:00", "ends": None, "headline": "Tornado Warning until 1:00PM",
        "geocode": {"UGC": ["NEC017"]}, "references": [{"identifier": "a0"}],
    },
    "geometry": {"type": "Polygon", "coordinates": [[[-100.0, 42.0], [-98.0, 42.0], [-98.0, 44.0], [-100.0, 42.0]]]},
}  # fmt: skip
_QUAKE = {
    "type": "Feature", "id": "us7000aaaa", "geometry": {"type": "Point", "coordinates": [-9.3, 53.2, 10.0]},
    "properties": {
        "mag": 6.1, "place": "12km SE of Selby, Velmar", "time": 1_936_526_340_000, "updated": 1_936_526_390_000,
        "type": "earthquake", "url": "https://quakes.example/us7000aaaa", "status": "automatic", "tsunami": 1,
        "alert": "orange", "ids": ",us7000aaaa,at00bbbb,",
    },
}  # fmt: skip
_RSS = b"""<?xml version="1.0" encoding="utf-8"?><rss version="2.0" xmlns:dc="http://purl.org/dc/elements/1.1/"
 xmlns:geo="http://www.w3.org/2003/01/geo/wgs84_pos#"><channel><title>Selby Post</title><language>en-IE</language>
<item><guid isPermaLink="false">n1</guid><title>Fire at the &quot;harbour&quot;</title><link>https://news.example/1</link>
<description>&lt;p&gt;Smoke &amp;amp; fire&lt;br&gt;seen&lt;/p&gt;</description><dc:creator>Ada</dc:creator>
<pubDate>Wed, 14 May 2031 11:59:00 +0000</pubDate><geo:lat>53.2</geo:lat><geo:long>-9.3</geo:long>
<enclosure url="https://news.example/1.png" type="image/png"/></item>
<item><title>Second</title><description><![CDATA[<b>bold</b> words]]></description></item></channel></rss>"""
_ATOM = b"""<feed xmlns="http://www.w3.org/2005/Atom" xmlns:georss="http://www.georss.org/georss" xml:lang="en">
<title>Selby Post</title><entry><id>urn:n:1</id><title type="html">Fire &amp;lt;now&amp;gt;</title>
<link rel="alternate" href="/1"/><updated>2031-05-14T11:59:00Z</updated><published>2031-05-14T11:50:00+0100</published>
<author><name>Ada</name></author><content type="xhtml"><div xmlns="http://www.w3.org/1999/xhtml">Smoke <b>here</b></div>
</content><georss:point>53.2 -9.3</georss:point></entry></feed>"""
_GDACS = b"""\xef\xbb\xbf<rss version="2.0" xmlns:gdacs="http://www.gdacs.org"
 xmlns:georss="http://www.georss.org/georss"><channel><item><title>Orange flood alert in Velmar</title>
<description>On 14/05/2031 a flood started &lt;b&gt;there&lt;/b&gt;.</description><link>https://g.example/1</link>
<pubDate>Wed, 14 May 2031 11:30:00 GMT</pubDate><guid>FL1100001</guid><georss:point>53.2 -9.3</georss:point>
<gdacs:eventtype>FL</gdacs:eventtype><gdacs:alertlevel>Orange</gdacs:alertlevel><gdacs:episodeid>2</gdacs:episodeid>
<gdacs:datemodified>Wed, 14 May 2031 11:40:00 GMT</gdacs:datemodified></item></channel></rss>"""
_METEOALARM = b"""<feed xmlns="http://www.w3.org/2005/Atom" xmlns:cap="urn:oasis:names:tc:emergency:cap:1.2">
<entry><id>https://meteo.example/1?index=0</id><title>Orange Wind Warning issued for Velmar - Selby</title>
<link type="application/cap+xml" href="https://meteo.example/1"/><link hreflang="en" href="https://meteoalarm.org"/>
<updated>2031-05-14T11:59:00Z</updated><cap:identifier>2.49.0.1.0</cap:identifier><cap:status>Actual</cap:status>
<cap:message_type>Update</cap:message_type><cap:event>wind</cap:event><cap:severity>Severe</cap:severity>
<cap:certainty>Likely</cap:certainty><cap:sent>2031-05-14T11:59:00+00:00</cap:sent><cap:areaDesc>Selby</cap:areaDesc>
<cap:expires>2031-05-14T18:00:00+00:00</cap:expires><cap:polygon>53.2,-9.3 53.4,-9.3 53.4,-9.1</cap:polygon></entry>
</feed>"""
_CAP = b"""<alert xmlns="urn:oasis:names:tc:emergency:cap:1.2"><identifier>2.49.0.1.1</identifier>
<references>a@meteo.example,2.49.0.1.0,2031-05-14T11:00:00+00:00
b@meteo.example,2.49.0.0,2031-05-14T10:00:00+00:00</references>
</alert>"""

TABLE: tuple[Decoder, ...] = (
    Decoder(
        name="xml",
        kind="xml",
        read=lambda data: (
            documents.parse(data).text(),
            documents.parse(data, "windows-1252"),
            documents.decoded(data),
        ),
        covers=(documents.parse, documents.decoded),
        refuses=(UnreadableError,),
        documents=(_RSS, _ATOM, _CAP, _GDACS),
    ),
    Decoder(
        name="feed-entries",
        kind="xml",
        read=lambda data: feed_entries.decode(data, None, URL("https://news.example/feed")),
        covers=(feed_entries.decode,),
        refuses=(UnreadableError,),
        documents=(_RSS, _ATOM),
        samples="rss/*.xml",
    ),
    Decoder(
        name="feed",
        kind="xml",
        read=_polled(lambda: feed.Entries("rss:selby", official=False), "https://news.example/feed"),
        covers=(feed.Entries.read,),
        refuses=(UnreadableError,),
        documents=(_RSS, _ATOM),
    ),
    Decoder(
        name="gdacs-events",
        kind="xml",
        read=lambda data: gdacs_events.decode(data, None),
        covers=(gdacs_events.decode,),
        refuses=(UnreadableError,),
        documents=(_GDACS,),
        samples="gdacs/*.xml",
    ),
    Decoder(
        name="gdacs",
        kind="xml",
        read=_polled(lambda: gdacs.Events("gdacs"), "https://g.example/rss.xml"),
        covers=(gdacs.Events.read,),
        refuses=(UnreadableError,),
        documents=(_GDACS,),
    ),
    Decoder(
        name="meteoalarm-feed",
        kind="xml",
        read=lambda data: meteoalarm_warnings.decode(data, None),
        covers=(meteoalarm_warnings.decode,),
        refuses=(UnreadableError,),
        documents=(_METEOALARM,),
    ),
    Decoder(
        name="meteoalarm-cap",
        kind="xml",
        read=meteoalarm_warnings.references,
        covers=(meteoalarm_warnings.references,),
        refuses=(UnreadableError,),
        documents=(_CAP,),
    ),
    Decoder(
        name="meteoalarm",
        kind="xml",
        read=_polled(lambda: meteoalarm.Warnings("meteoalarm"), "https://meteo.example/feed"),
        covers=(meteoalarm.Warnings.read,),
        refuses=(UnreadableError,),
        documents=(_METEOALARM,),
    ),
    Decoder(
        name="geojson",
        kind="json",
        read=lambda data: (geojson.following(data), geojson.features(data)),
        covers=(geojson.features, geojson.following),
        refuses=(UnreadableError,),
        documents=as_json(_collection(_ALERT, pagination={"next": "https://list.example/?cursor=a"})),
    ),
    Decoder(
        name="nws-alerts",
        kind="json",
        read=nws_alerts.decode,
        covers=(nws_alerts.decode,),
        refuses=(UnreadableError,),
        documents=as_json(_collection(_ALERT)),
        samples="nws/*.json",
    ),
    Decoder(
        name="nws",
        kind="json",
        read=_polled(lambda: nws.Alerts("nws"), "https://list.example/alerts/active"),
        covers=(nws.Alerts.read,),
        refuses=(UnreadableError,),
        documents=as_json(_collection(_ALERT, pagination={"next": "https://list.example/alerts/active?cursor=a"})),
    ),
    Decoder(
        name="usgs-quakes",
        kind="json",
        read=lambda data: usgs_quakes.decode(data, 4.5),
        covers=(usgs_quakes.decode,),
        refuses=(UnreadableError,),
        documents=as_json(_collection(_QUAKE)),
        samples="usgs/*.json",
    ),
    Decoder(
        name="usgs-quake",
        kind="json",
        read=lambda data: usgs_quakes.decode_one(data, 4.5),
        covers=(usgs_quakes.decode_one,),
        documents=as_json(_QUAKE),
    ),
    Decoder(
        name="usgs",
        kind="json",
        read=_polled(lambda: usgs.Quakes("usgs", 4.5), "https://q.example/summary/all_hour.geojson"),
        covers=(usgs.Quakes.read,),
        refuses=(UnreadableError,),
        documents=as_json(_collection(_QUAKE)),
    ),
)

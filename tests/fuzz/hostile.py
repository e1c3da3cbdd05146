"""Documents that were made to hurt: megabytes of one thing, nesting without end, XML bombs."""

import json
import random
import re
from collections.abc import Iterator, Sequence

from tests.fuzz.values import LEVEL, PIECES, get, paths, put

DEEP = 100_000


def hostile(kind: str, document: bytes, size: int, pieces: Sequence[str] = PIECES) -> Iterator[tuple[str, bytes]]:
    """Documents of about ``size`` bytes made to hurt, each with a name; ``pieces``: what to try many of."""
    yield "zeros", bytes(size)
    yield "noise", random.Random(5).randbytes(size)
    yield "repeated", document * (size // len(document))
    for piece in pieces:
        encoded = piece.encode("utf-8", "surrogatepass")
        yield f"all {piece!r}", encoded * (size // len(encoded))
    match kind:
        case "json":
            yield from _hostile_json(document, size, pieces)
        case "xml":
            yield from _hostile_xml(document, size, pieces)
        case "bytes":
            yield "long", document + bytes(size)
        case _:
            for piece in pieces:
                encoded = piece.encode("utf-8", "surrogatepass")
                yield f"then {piece!r}", document + encoded * (size // len(encoded))
                yield f"before, then {piece!r}", encoded * (size // len(encoded)) + document


def huge(kind: str, document: bytes, size: int) -> Iterator[bytes]:
    """The plainest of them: one long string, many small elements, one long number."""
    yield document[: len(document) // 2] + b"x" * size + document[len(document) // 2 :]
    yield document[: len(document) // 2] + b"9" * size
    match kind:
        case "json":
            yield b'{"text": "' + b"x" * size + b'", ' + document[1:]
            yield document[:-1] + b', "x": [' + b"1," * (size // 2) + b"1]" + document[-1:]
        case "xml" | "html":
            yield document + b"<b>" * (size // 3)
            yield document.replace(b"<item", b"<item>" + b"<a/>" * (size // 4) + b"</item><item")
        case _:
            yield document * (size // len(document))


def bombs(file: str, server: str) -> Iterator[tuple[str, bytes]]:
    """XML that grows, or that asks for ``file`` and ``server``; ``&a;`` and ``&b;`` stand where a text is expected."""
    body = "<rss><channel><item><guid>1</guid><title>&a;</title></item></channel></rss>"
    atom = "<feed xmlns='http://www.w3.org/2005/Atom'><entry><id>1</id><title>&a;</title></entry></feed>"
    laughs = "".join(f"<!ENTITY l{n + 1} '{f'&l{n};' * 10}'>" for n in range(9))
    for root, document in (("rss", body), ("feed", atom), ("alert", "<alert><references>&a;</references></alert>")):
        yield "laughs", f"<!DOCTYPE {root} [<!ENTITY l0 'lol'>{laughs}<!ENTITY a '&l9;'>]>{document}".encode()
        blown = document.replace("&a;", "&a;" * 50_000)
        yield "quadratic", f"<!DOCTYPE {root} [<!ENTITY a '{'x' * 50_000}'>]>{blown}".encode()
        for where in (f"file://{file}", file, f"{server}/general"):
            yield "general", f"<!DOCTYPE {root} [<!ENTITY a SYSTEM '{where}'>]>{document}".encode()
            yield "public", f"<!DOCTYPE {root} [<!ENTITY a PUBLIC 'x' '{where}'>]>{document}".encode()
            yield "unparsed", f"<!DOCTYPE {root} [<!ENTITY a SYSTEM '{where}' NDATA gif>]>{document}".encode()
            yield "parameter", f"<!DOCTYPE {root} [<!ENTITY % p SYSTEM '{where}'> %p;]>{document}".encode()
            yield "subset", f"<!DOCTYPE {root} SYSTEM '{where}'>{document}".encode()
            yield "public subset", f"<!DOCTYPE {root} PUBLIC '-//x' '{where}'>{document}".encode()
            yield "both", f"<!DOCTYPE {root} SYSTEM '{where}' [<!ENTITY % p SYSTEM '{where}'> %p;]>{document}".encode()
            yield "instruction", f"<?xml-stylesheet href='{where}'?>{document}".encode()
            included = f"<x:include xmlns:x='http://www.w3.org/2001/XInclude' parse='text' href='{where}'/>"
            yield "included", document.replace("&a;", included).encode()
            hinted = document.replace(
                ">", f" xmlns:i='http://www.w3.org/2001/XMLSchema-instance' i:schemaLocation='a {where}'>", 1
            )
            yield "schema", hinted.encode()
        for charset in ("utf-16", "utf-32", "utf-7"):
            yield charset, f"<!DOCTYPE {root} [<!ENTITY a SYSTEM 'file://{file}'>]>{document}".encode(charset)
        attributes = "<!ATTLIST item a CDATA 'x'>" * 10_000
        yield "attributes", f"<!DOCTYPE {root} [{attributes}]>{document}".encode()
        yield "self", f"<!DOCTYPE {root} [<!ENTITY a '&a;'>]>{document}".encode()
        yield "late", f"{document}<!DOCTYPE {root} [<!ENTITY a SYSTEM '{server}/late'>]>{document}".encode()


def _hostile_json(document: bytes, size: int, pieces: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    said = json.loads(document)
    deep, objects = b"[" * DEEP + b"]" * DEEP, b'{"a":' * DEEP + b"1" + b"}" * DEEP
    yield "deep", deep
    yield "deep objects", objects
    yield "deep, open", document[:-1] + b', "x": ' + b"[" * size
    yield "spaces", document[:1] + b" " * size + document[1:]
    yield "keys", document[:-1] + b"".join(b', "k%d": 1' % number for number in range(size // 12)) + document[-1:]
    if isinstance(said, dict):
        whole = document[1:-1]
        yield "same keys", b"{" + b", ".join([whole] * (size // len(document))) + b"}"
    for path in paths(said):
        name = "/".join(map(str, path))
        at = put(said, path, LEVEL.decode())
        marked = json.dumps(at).encode()
        for label, value in (
            ("deep", deep),
            ("deep objects", objects),
            ("string", b'"' + b"x" * size + b'"'),
            ("escapes", b'"' + b"\\u0041" * (size // 6) + b'"'),
            ("surrogates", b'"' + b"\\ud800" * (size // 6) + b'"'),
            ("number", b"9" * size),
            ("list", b"[" + b"1," * (size // 2) + b"1]"),
            ("list of words", b"[" + b'"a",' * (size // 4) + b'"a"]'),
        ):
            yield f"{label} at {name}", marked.replace(b'"' + LEVEL + b'"', value)
        value = get(said, path)
        if isinstance(value, list) and value:
            many = value * (size // max(len(json.dumps(value)), 2))
            yield f"many at {name}", json.dumps(put(said, path, many)).encode()
        if isinstance(value, str):
            for piece in pieces:
                yield f"{piece!r} at {name}", json.dumps(put(said, path, value + piece * (size // 10))).encode()


def _hostile_xml(document: bytes, size: int, pieces: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    text = document.decode("utf-8-sig")
    root = re.search(r"<[a-zA-Z]", text)
    assert root is not None
    head, tail = text[: text.index(">", root.start())], text[text.index(">", root.start()) :]
    yield "attributes", (head + "".join(f" a{n}='1'" for n in range(size // 10)) + tail).encode()
    yield "attribute", (head + f" a='{'x' * size}'" + tail).encode()
    yield "namespaces", (head + "".join(f" xmlns:n{n}='u{n}'" for n in range(size // 20)) + tail).encode()
    yield "deep", (head + ">" + "<a>" * DEEP + "</a>" * DEEP + tail[1:]).encode()
    yield "elements", (head + ">" + "<a/>" * (size // 4) + tail[1:]).encode()
    yield "names", (head + ">" + "".join(f"<e{n}/>" for n in range(size // 10)) + tail[1:]).encode()
    yield "comment", (head + "><!--" + "-" * size + tail).encode()
    yield "section", (head + "><![CDATA[" + "]]" * (size // 2) + tail).encode()
    yield "wide", text.encode("utf-32")[: size // 4 * 4]
    for found in re.finditer(r">([^<>]+)<", text):
        if not found[1].strip():
            continue
        before, after = text[: found.start(1)], text[found.end(1) :]
        for piece in pieces:
            many = piece * (size // (4 * len(piece)))
            escaped = many.replace("&", "&amp;").replace("<", "&lt;")
            yield f"{piece!r} at {found[1]!r}", (before + found[1] + escaped + after).encode("utf-8", "surrogatepass")
    entry = re.search(r"<(item|entry)[> ].*?</\1>", text, re.DOTALL)
    if entry is not None:
        many = entry[0] * (size // len(entry[0]))
        yield "entries", (text[: entry.start()] + many + text[entry.end() :]).encode()
        inside = f"{entry[0][:6]}" + f"<link href='/{'a' * 50}'/>" * (size // 80) + entry[0][6:]
        yield "links", (text[: entry.start()] + inside + text[entry.end() :]).encode()

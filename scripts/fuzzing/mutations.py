"""Changes at random: of bytes, of the chunks of a PNG file, of JSON, of lines."""

import json
import struct
import zlib
from collections.abc import Iterator
from random import Random
from typing import Any

from fuzzing.png_bytes import chunk
from weakshot_seg.data.images import PNG

VALUES = [None, 0, -1, 2, 1e9, 1e400, float("nan"), "", "x", [], {}, [[]], [None], {"a": 1}, True, "a.jpg", "../../x"]
VALUES += [[[1, "b"]], "\0", "é", "e\u0301", 10**30, "1", [0, 0, 0, 0, 0, 0], "[1"]
PIECES = (
    b"",
    b"0",
    b",",
    b":",
    b";",
    b".",
    b'"',
    b"<",
    b">",
    b"x",
    b"\0",
    b"\xff",
    b"9",
    b"-",
    b"\n",
    b"\r",
    b"\t",
    b" ",
)
PIECES += (
    "\u2028".encode(),
    "\x85".encode(),
    b"\x0b",
    b"\xef\xbb\xbf",
    "ö".encode(),
    "o\u0308".encode(),
    b"1e9",
    b"nan",
    b"*",
)
EXTRA = (b"acTL", b"tRNS", b"PLTE", b"IDAT", b"eXIf", b"iCCP", b"bKGD", b"IHDR", b"IEND", b"gAMA")


def bytes_changed(rng: Random, content: bytes) -> bytes:
    """The same with a few bytes replaced, inserted or removed, a part missing or doubled, or the rest cut off."""
    changed = bytearray(content)
    for _ in range(rng.choice([1, 1, 1, 3, 10])):
        at = rng.randrange(len(changed) + 1)
        match rng.randrange(6):
            case 0 | 1 if at < len(changed):
                changed[at] ^= 1 << rng.randrange(8)
            case 2 | 3:
                changed[at : at + rng.randrange(4)] = rng.choice(PIECES)
            case 4:
                part = changed[at : at + rng.randrange(1, 40)]
                changed[at:at] = part if rng.random() < 0.5 else b""
                del changed[at : at + len(part)]
            case 5 if rng.random() < 0.3:
                del changed[at:]
    return bytes(changed)


def chunks_changed(rng: Random, content: bytes) -> bytes:
    """A PNG file with a few wrong bytes or chunks, and checksums that fit."""
    chunks, at = list[tuple[bytes, bytearray]](), len(PNG)
    while at < len(content):
        length, kind = struct.unpack(">I4s", content[at : at + 8])
        chunks.append((kind, bytearray(content[at + 8 : at + 8 + length])))
        at += 12 + length
    for _ in range(rng.randint(1, 3)):
        kind, data = chunks[rng.randrange(len(chunks))]
        match rng.randrange(12):
            case 0 | 1 if data and kind != b"IDAT":
                data[rng.randrange(len(data))] = rng.choice((0, 1, 2, 3, 4, 6, 8, 16, 255, rng.randrange(256)))
            case 2:
                del data[rng.randrange(len(data) + 1) :]
            case 3:
                data = bytearray(rng.randbytes(rng.randrange(30)))
                chunks.insert(rng.randrange(len(chunks) + 1), (rng.choice(EXTRA), data))
            case 4:
                rng.shuffle(chunks)
            case 5 if len(chunks) > 1:
                del chunks[rng.randrange(len(chunks))]
            case _:
                _change_pixels(rng, chunks)
    return PNG + b"".join(chunk(kind, bytes(data)) for kind, data in chunks)


def _change_pixels(rng: Random, chunks: list[tuple[bytes, bytearray]]) -> None:
    """Other filters and samples in the rows of a PNG file, in one or several new ``IDAT`` chunks."""
    places = [i for i, (kind, _) in enumerate(chunks) if kind == b"IDAT"]
    try:
        rows = bytearray(zlib.decompress(b"".join(chunks[i][1] for i in places)))
    except zlib.error:
        return
    for _ in range(rng.randrange(1, 9) if rows else 0):
        rows[rng.randrange(len(rows))] = rng.choice((0, 1, 2, 3, 4, rng.randrange(256)))
    content = zlib.compress(rows, rng.choice((0, 1, 9)))
    cut = rng.randrange(len(content))
    chunks[places[0] : places[-1] + 1] = [(b"IDAT", bytearray(part)) for part in (content[:cut], content[cut:])]


def paths(content: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The keys to each entry of JSON."""
    children = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, child in children:
        yield (*path, key)
        yield from paths(child, (*path, key))


def json_changed(rng: Random, content: bytes) -> bytes:
    """JSON in which an entry is replaced, removed, or given twice."""
    whole = json.loads(content)
    *keys, last = rng.choice(list(paths(whole)))
    entry = whole
    for key in keys:
        entry = entry[key]
    match rng.randrange(4):
        case 0:
            entry.pop(last)
        case 1 if isinstance(entry, list):
            entry.insert(rng.randrange(len(entry) + 1), entry[last])
        case 1:
            entry[rng.choice(["x", f"{last} "])] = entry[last]
        case 2 if isinstance(entry[last], int | float):
            entry[last] = entry[last] * rng.choice([-1, 0, 0.5, 2, 1e300]) + rng.choice([0, 1, 0.5, 1e-9])
        case _:
            entry[last] = rng.choice(VALUES)
    return json.dumps(whole, ensure_ascii=rng.random() < 0.5).encode("utf-8", "surrogatepass")


def lines_changed(rng: Random, content: bytes) -> bytes:
    """Text with lines doubled, removed, in another order, joined, or ended otherwise."""
    ending = rng.choice([b"\n", b"\r\n", b"\r"])
    lines = content.split(b"\n")
    at = rng.randrange(len(lines))
    match rng.randrange(5):
        case 0:
            lines.insert(rng.randrange(len(lines) + 1), lines[at])
        case 1:
            del lines[at]
        case 2:
            rng.shuffle(lines)
        case 3:
            lines[at : at + 2] = [rng.choice(PIECES).join(lines[at : at + 2])]
        case 4:
            lines.insert(at, rng.choice(PIECES))
    text = ending.join(lines)
    return (b"\xef\xbb\xbf" if rng.random() < 0.2 else b"") + text


def text_changed(rng: Random, content: bytes) -> bytes:
    """Text with a change of bytes or of lines."""
    return (bytes_changed if rng.random() < 0.6 else lines_changed)(rng, content)


def respelled(rng: Random, content: bytes) -> bytes:
    """JSON that says the same in other bytes."""
    whole = json.loads(content)

    def in_other_order(entry: Any) -> Any:
        if isinstance(entry, list):
            return [in_other_order(child) for child in entry]
        if not isinstance(entry, dict):
            return entry
        keys = (
            rng.sample(list(entry), len(entry))
            if all(isinstance(v, str | int | float) for v in entry.values())
            else entry
        )
        return {key: in_other_order(entry[key]) for key in keys}

    text = json.dumps(in_other_order(whole), ensure_ascii=rng.random() < 0.5, indent=rng.choice([None, 1, "\t"]))
    return rng.choice([b"", b"\xef\xbb\xbf"]) + rng.choice([b"", b" \r\n"]) + text.encode() + rng.choice([b"", b"\n\n"])

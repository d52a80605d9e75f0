"""PNG files by hand, of any bit depth and colour type: what libraries cannot be asked to write."""

import struct
import zlib

import numpy as np

from weakshot_seg.data.images import PNG

ADAM7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
"""First row, first column, and their steps, of each pass of an interlaced file."""


def chunk(kind, data):
    """A part of a file, with its length and checksum."""
    return struct.pack(">I4s", len(data), kind) + data + zlib.crc32(kind + data).to_bytes(4, "big")


def scanlines(samples, depth):
    """Samples ``[h, w, channels]`` as rows of filter type 0, each filled up to a whole byte (by ones)."""
    rows = b""
    for row in samples.reshape(len(samples), -1):
        bits = "".join(f"{value:0{depth}b}" for value in row.tolist())
        bits += "1" * (-len(bits) % 8)
        rows += b"\0" + int(bits, 2).to_bytes(len(bits) // 8, "big")
    return rows


def png(samples, depth=8, colour_type=0, palette=None, interlaced=False, chunks=()):
    """A file of integers ``[h, w]`` or ``[h, w, channels]``; ``chunks`` are pairs of kind and content."""
    samples = np.asarray(samples)
    samples = samples.reshape(*samples.shape[:2], -1)
    parts = [samples[y::dy, x::dx] for y, x, dy, dx in ADAM7] if interlaced else [samples]
    pixels = b"".join(scanlines(part, depth) for part in parts if part.size)
    header = struct.pack(">IIBBBBB", samples.shape[1], samples.shape[0], depth, colour_type, 0, 0, interlaced)
    content = PNG + chunk(b"IHDR", header)
    content += chunk(b"PLTE", bytes(np.asarray(palette, np.uint8).ravel().tolist())) if palette is not None else b""
    content += b"".join(chunk(*pair) for pair in chunks)
    return content + chunk(b"IDAT", zlib.compress(pixels)) + chunk(b"IEND", b"")

"""Files with the names of images that are none."""

import struct
import zlib

from weakshot_seg.data.images import PNG


def claiming(width, height):
    """A PNG file of a few bytes with a large size in its header."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(99))), (b"IEND", b""))
    return PNG + b"".join(
        struct.pack(">I4s", len(data), kind) + data + zlib.crc32(kind + data).to_bytes(4, "big")
        for kind, data in chunks
    )


NO_IMAGES = {
    "empty": b"",
    "zeros": bytes(5000),
    "text": b"no image",
    "page": b"<!DOCTYPE html><html><body>404 Not Found</body></html>",
    "enormous": claiming(60000, 60000),
    "larger than its pixels": claiming(300, 300),
    "dangling link": None,
}
"""Contents by name; None: a link to nothing."""


def spoil(path, name):
    """Replaces a file by one of :data:`NO_IMAGES`."""
    path.unlink(missing_ok=True)
    content = NO_IMAGES[name]
    if content is None:
        path.symlink_to(path.parent / "nowhere")
    else:
        path.write_bytes(content)
    return path

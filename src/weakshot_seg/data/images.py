"""Reading image and label files, with errors a user can act on."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, ImageOps

from weakshot_seg.errors import DataError

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})
UNREADABLE = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    LookupError,
    TypeError,
    ArithmeticError,
    MemoryError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)
"""What Pillow raises for broken files."""
PNG, JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"


def read_image(path: Path, remedy: str = "replace or remove it and its mask") -> NDArray[np.uint8]:
    """Reads an image file of any mode as RGB, turned upright as its EXIF data say.

    Args:
        path: of the file.
        remedy: what to do about a broken one, for the message.

    Returns:
        uint8 ``[h, w, 3]``. Transparency is dropped; 16-bit grey is reduced to 8 bits.

    Raises:
        DataError: the file is missing, broken, or of a mode that has no agreed way to RGB.
    """
    try:
        with Image.open(path) as file:
            _check_png(path)
            return upright_rgb(file, f"image {path}")
    except DataError:
        raise
    except UNREADABLE as error:
        raise DataError(f"cannot read image {path} ({_reason(error)}): {remedy}") from error


def upright_rgb(picture: Image.Image, name: str = "the image") -> NDArray[np.uint8]:
    """A picture of any mode as RGB uint8 ``[h, w, 3]``, see :func:`read_image`; errors call it ``name``."""
    upright = ImageOps.exif_transpose(picture)
    if upright.mode in ("I", "F"):
        raise DataError(f"{name} has 32-bit pixels (mode {upright.mode}): save it with 8 bits per channel")
    if upright.mode.startswith("I;16"):
        grey = (np.asarray(upright).astype(np.uint16) >> 8).astype(np.uint8)
        return np.repeat(grey[:, :, None], 3, axis=2)
    return np.array(upright.convert("RGB"))


def image_size(path: Path) -> tuple[int, int]:
    """Height and width of an image turned upright, from its header alone (TIFF: from its pixels).

    Raises:
        DataError: the file is missing or no image.
    """
    try:
        with Image.open(path) as file:
            width, height = file.size
            if file.format == "TIFF":  # whether Pillow has swapped the axes by now depends on its version
                return read_image(path).shape[:2]
            turned = file.getexif().get(0x0112, 1) >= 5  # orientations 5 to 8 swap the axes
            return (width, height) if turned else (height, width)
    except UNREADABLE as error:
        raise DataError(f"cannot read image {path} ({_reason(error)}): replace or remove it and its mask") from error


def verify_image(path: Path) -> tuple[int, int]:
    """Reads an image as :func:`read_image` does, and refuses JPEG files that end within their pixels.

    A copy that broke off may hold zeros to its end, or an end marker: decoders fill up with grey and warn at most.
    Pillow has no way to ask for the warning.

    Returns:
        Height and width, turned upright.

    Raises:
        DataError: see there.
    """
    height, width = read_image(path).shape[:2]
    try:
        content = path.read_bytes()
        if content.startswith(JPEG):
            simplejpeg.decode_jpeg(content, colorspace="GRAY", strict=True, min_height=1, min_width=1, min_factor=8)
    except ValueError as error:  # other warnings concern no pixels, as cameras' extra bytes
        if "remature end" in str(error):
            raise DataError(
                f"image {path} ends before its pixels do ({error}): replace or remove it and its mask"
            ) from None
    return height, width


def read_mask(path: Path) -> NDArray[np.uint8]:
    """Reads a label file: one channel of ids, a palette is ignored.

    Returns:
        uint8 ``[h, w]`` of the ids as stored.

    Raises:
        DataError: the file is missing, broken, has colours instead of ids, or ids above 255.
    """
    try:
        with Image.open(path) as file:
            _check_png(path)
            if file.mode in ("L", "P", "1"):
                return np.array(file, dtype=np.uint8)
            if file.mode == "I" or file.mode.startswith("I;16"):
                ids = np.asarray(file)
                if not 0 <= ids.min() <= ids.max() <= 255:
                    raise DataError(f"mask {path} has the id {ids.max()}: ids must be 0 to 255, 255 for unlabelled")
                return ids.astype(np.uint8)
            raise DataError(
                f"mask {path} is a colour picture (mode {file.mode}): save it with one channel of class ids "
                "0..K-1, 255 for unlabelled"
            )
    except DataError:
        raise
    except UNREADABLE as error:
        raise DataError(
            f"cannot read mask {path} ({_reason(error)}): replace it, or remove it and its image"
        ) from error


def _check_png(path: Path) -> None:
    """Compares the checksums of a PNG file, which Pillow leaves out for the pixels: they would be wrong without a word.

    Raises:
        OSError: one differs, or something is missing.
    """
    with path.open("rb") as file:
        if file.read(len(PNG)) != PNG:
            return
        pixels, kind = zlib.decompressobj(), b""
        while kind != b"IEND":
            length, kind = struct.unpack(">I4s", file.read(8))
            content, checksum = file.read(length), file.read(4)
            if checksum != zlib.crc32(kind + content).to_bytes(4, "big"):
                raise OSError("a checksum is wrong or missing")
            while kind == b"IDAT" and content and not pixels.eof:
                pixels.decompress(content, 2**20)  # compares the checksum of the pixels at their end
                content = pixels.unconsumed_tail
        if not pixels.eof:
            raise OSError("pixels are missing")


def _reason(error: Exception) -> str:
    lines = str(error).splitlines() or [""]
    return getattr(error, "strerror", None) or lines[0].split(" <")[0] or type(error).__name__

"""Reading image and label files, with errors a user can act on."""

import io
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, ImageOps

from weakshot_seg.errors import DataError
from weakshot_seg.utils.files import reading

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})
PNG, JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"


def read_image(path: Path, remedy: str = "replace or remove it and its mask", verify: bool = True) -> NDArray[np.uint8]:
    """Reads an image file of any mode as RGB, turned upright as its EXIF data say.

    ``verify`` also finds damage that decoders pass over in silence, for a tenth to a third of the time of reading: not
    needed for files that have been verified before. ``remedy`` says what to do about a broken one.

    Returns:
        uint8 ``[h, w, 3]``. Transparency is dropped; 16-bit grey is reduced to 8 bits. 32-bit pixels are refused.
    """
    with _opened(path, f"image {path}", remedy, verify) as file:
        return upright_rgb(file, f"image {path}")


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
    """Height and width of an image turned upright, from its header alone (TIFF: from its pixels)."""
    with _opened(path, f"image {path}", "replace or remove it and its mask") as file:
        if file.format == "TIFF":  # whether Pillow has swapped the axes by now depends on its version
            height, width, _ = upright_rgb(file, f"image {path}").shape
            return height, width
        turned = file.getexif().get(0x0112, 1) >= 5  # orientations 5 to 8 swap the axes
        return (file.width, file.height) if turned else (file.height, file.width)


def read_mask(path: Path, verify: bool = True) -> NDArray[np.uint8]:
    """The ids as stored in a label file of one channel: uint8 ``[h, w]``; ``verify``: see :func:`read_image`.

    A palette is ignored; colours instead of ids and ids above 255 are refused (``DataError``).
    """
    with _opened(path, f"mask {path}", "replace it, or remove it and its image", verify) as file:
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


@contextmanager
def _opened(path: Path, name: str, remedy: str, verify: bool = False) -> Iterator[Image.Image]:
    with reading(name, remedy), Image.open(path) as file:
        if verify:
            _verify(path.read_bytes())
        yield file


def _verify(content: bytes) -> None:
    """Finds damage in a PNG or JPEG file that Pillow passes over in silence; raises anything."""
    if content.startswith(PNG):
        _verify_png(io.BytesIO(content))
    elif content.startswith(JPEG):
        # A copy that broke off may hold zeros to its end, or an end marker: decoders fill up with grey and warn at
        # most. Pillow has no way to ask for the warning.
        try:
            simplejpeg.decode_jpeg(content, colorspace="GRAY", strict=True, min_height=1, min_width=1, min_factor=8)
        except ValueError as error:  # other warnings concern no pixels, as cameras' extra bytes
            if "remature end" in str(error):
                raise OSError(f"it ends before its pixels do: {error}") from None


def _verify_png(file: io.BytesIO) -> None:
    """Compares the checksums of all chunks and of the pixels, which Pillow leaves out for the pixels."""
    file.seek(len(PNG))
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

"""Reading photos, with errors a user can act on; masks: :mod:`~weakshot_seg.data.masks`."""

import io
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from weakshot_seg.errors import DataError
from weakshot_seg.utils.files import reading

KINDS = ("jpg", "jpeg", "jpe", "jfif", "mpo", "png", "webp", "tif", "tiff", "bmp", "dib", "gif", "avif", "heic", "heif")
IMAGE_SUFFIXES = frozenset(f".{kind}" for kind in (*KINDS, "hif", "jp2", "ppm", "pgm", "pnm"))
"""Of files that may be photos; whether they are, their content says."""
HEIF = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
REMEDY = "replace or remove it and its mask"
MAX_PIXELS = 178_956_970
"""Pillow's own limit: a small file can claim any size."""
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by the colour type in the header of a PNG file
PNG, JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"


_PILLOW = Lock()


def read_image(
    path: Path, remedy: str = REMEDY, verify: bool = True, max_pixels: int = MAX_PIXELS
) -> NDArray[np.uint8]:
    """Reads an image file of any mode as RGB, turned upright as its EXIF data say.

    ``verify`` also finds damage that decoders pass over in silence, for a tenth to a third of the time of reading: not
    needed for files that have been verified before. ``remedy`` says what to do about a broken one. One with more than
    ``max_pixels`` is refused before it is decoded.

    Returns:
        uint8 ``[h, w, 3]``. Transparency is dropped; 16 bits are reduced to 8. Pixels of 32 bits are refused, and those
        of 16 bits in which a camera has stored 12 or less.
    """
    with opened(path, f"image {path}", remedy, verify, max_pixels) as file:
        return upright_rgb(file, f"image {path}")


def upright_rgb(picture: Image.Image, name: str = "the image") -> NDArray[np.uint8]:
    """A picture of any mode as RGB uint8 ``[h, w, 3]``, see :func:`read_image`; errors call it ``name``."""
    is_deep = ";16" in str(getattr(picture, "tile", ""))  # colours of 16 bits, of which Pillow keeps the upper 8
    # without needless copies: those of a large photo are gigabytes
    upright = picture if orientation(picture) == 1 else ImageOps.exif_transpose(picture)
    if upright.mode in ("I", "F"):
        raise DataError(f"{name} has 32-bit pixels (mode {upright.mode}): save it with 8 bits per channel")
    if upright.mode.startswith("I;16"):
        grey = np.asarray(upright).astype(np.uint16)
        if grey.any():
            _check_range(int(grey.max()), name)
        return np.repeat((grey >> 8).astype(np.uint8)[:, :, None], 3, axis=2)
    pixels = np.array(upright if upright.mode == "RGB" else upright.convert("RGB"))
    if is_deep:
        _check_range(int(pixels.max()) << 8, name)
    return pixels


def _check_range(highest: int, name: str) -> None:
    """Refuses 10 or 12 bits of a camera stored as 16, which would be nearly black, by the highest value in a photo."""
    if highest < 2**12:
        raise DataError(
            f"{name} has 16 bits per channel, of which none above 12 is in use: multiply its values to the full range "
            "of 0 to 65535 (12 bits: by 16), or save it with 8 bits per channel"
        )


def size_and_turn(path: Path, decode: bool = False, max_pixels: int = MAX_PIXELS) -> tuple[tuple[int, int], int]:
    """Height and width of an image turned upright, and its orientation, see :func:`orientation`.

    From its header alone, unless it is a TIFF file, or ``decode`` asks for a reading of all (with ``verify``).
    """
    name = f"image {path}"
    with opened(path, name, REMEDY, decode, max_pixels) as file:
        turn = orientation(file)
        if decode or file.format == "TIFF":  # whether Pillow has swapped the axes of TIFF by now depends on its version
            height, width, _ = upright_rgb(file, name).shape
            return (height, width), turn
        return ((file.width, file.height) if turn >= 5 else (file.height, file.width)), turn


def image_size(path: Path) -> tuple[int, int]:
    """Height and width of an image turned upright, from its header if that is possible."""
    return size_and_turn(path)[0]


def orientation(picture: Image.Image) -> int:
    """How EXIF data say that a picture is turned: 1 (as stored) to 8; from 5 on, width and height change places."""
    turn = picture.getexif().get(0x0112, 1)
    return turn if isinstance(turn, int) and 1 <= turn <= 8 else 1


@contextmanager
def opened(
    path: Path, name: str, remedy: str, verify: bool = False, max_pixels: int = MAX_PIXELS
) -> Iterator[Image.Image]:
    """A picture file called ``name`` in errors, not yet decoded; for all others see :func:`read_image`."""
    with reading(name, remedy), _open(path, name) as file:
        if file.width * file.height > max_pixels:
            raise DataError(
                f"{name} has {file.width}x{file.height} pixels, more than max_pixels={max_pixels}: {remedy}, or allow "
                f"as many (data.max_pixels of a data set, max_pixels of predictions)"
            )
        if verify:
            _verify(path.read_bytes())
        yield file


def _open(path: Path, name: str) -> Image.Image:
    try:
        with _PILLOW:  # its limit is one for all threads
            limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
            try:
                return Image.open(path)
            finally:
                Image.MAX_IMAGE_PIXELS = limit
    except UnidentifiedImageError:
        with path.open("rb") as file:  # also phones' photos that were named .jpg
            start = file.read(12)
        if start[4:8] != b"ftyp" or start[8:] not in HEIF:
            raise
    try:
        from pillow_heif.as_plugin import HeifImageFile
    except ImportError:
        raise DataError(f"{name} is of the kind HEIC, which needs pillow-heif: pip install -e '.[heif]'") from None
    picture: Image.Image = HeifImageFile(path)
    return picture


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
    """Compares the checksums of all chunks and of the pixels, which Pillow leaves out for the pixels.

    Also whether there are as many pixels as the header claims: memory for them would be filled before that is found.
    """
    file.seek(len(PNG))
    pixels, kind = zlib.decompressobj(), b""
    claimed = count = 0
    while kind != b"IEND":
        length, kind = struct.unpack(">I4s", file.read(8))
        content, checksum = file.read(length), file.read(4)
        if checksum != zlib.crc32(kind + content).to_bytes(4, "big"):
            raise OSError("a checksum is wrong or missing")
        if kind == b"IHDR":
            width, height, depth, colour_type = struct.unpack(">IIBB", content[:10])
            claimed = width * height * depth * CHANNELS[colour_type] // 8
        while kind == b"IDAT" and content and not pixels.eof:
            count += len(pixels.decompress(content, 2**20))  # compares the checksum of the pixels at their end
            content = pixels.unconsumed_tail
    if not pixels.eof or count < claimed:
        raise OSError("pixels are missing")

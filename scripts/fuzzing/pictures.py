"""Masks and photos with changes, compared with what OpenCV's decoders read."""

import io
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fuzzing.mutations import bytes_changed, chunks_changed
from fuzzing.png_bytes import png
from fuzzing.verdict import Refused, Unjudged, require
from weakshot_seg.data.images import PNG, read_image, size_and_turn
from weakshot_seg.data.masks import open_mask

SIZE = 12, 17
NOISE = np.random.default_rng(0)
PALETTE = NOISE.permutation(256 * 3).reshape(256, 3) % 251
ALLOWED = (range(256), range(16), (0, 1, 255), (0, 255))
TIFF = b"II*\0", b"MM\0*"
NEAR = 4
"""Decoders of JPEG round in their own ways."""


def _exif(turn: int | None) -> bytes:
    data = Image.Exif()
    data[0x0112] = turn or 1
    return data.tobytes()[6:]


def _masks() -> Iterator[bytes]:
    """Sound masks of every depth and kind."""
    for depth, colour_type, channels in (
        (1, 0, 1),
        (2, 0, 1),
        (4, 0, 1),
        (8, 0, 1),
        (16, 0, 1),
        (2, 3, 1),
        (4, 3, 1),
        (8, 3, 1),
        (8, 4, 2),
    ):
        for interlaced in (False, True):
            samples = NOISE.integers(0, min(2**depth, 16), (*SIZE, channels))
            if channels == 2:
                samples[..., 1] = 255
            palette = PALETTE[: 2**depth] if colour_type == 3 else None
            for turn in (None, 6):
                chunks = [(b"eXIf", _exif(turn))] if turn else []
                yield png(samples, depth, colour_type, palette, interlaced, chunks)
    for grey in (PALETTE[:4, :1].repeat(3, 1), np.arange(256)[:, None].repeat(3, 1)):
        yield png(NOISE.integers(0, 4, SIZE), 8 if len(grey) > 4 else 2, 3, grey)
    for form in ("JPEG", "WEBP", "GIF", "BMP"):
        file = io.BytesIO()
        Image.fromarray(NOISE.integers(0, 4, SIZE, dtype=np.uint8)).save(file, form)
        yield file.getvalue()


MASKS = list(_masks())


def _changed(rng: Random, files: Sequence[bytes], by_chunks: float, path: Path) -> bytes:
    """Writes one of some files to ``path``, with changes; those of that share of PNG files are made within chunks."""
    content = rng.choice(files)
    content = (chunks_changed if content.startswith(PNG) and rng.random() < by_chunks else bytes_changed)(rng, content)
    path.write_bytes(content)
    return content


def mask(rng: Random, folder: Path) -> None:
    """Ids are those that are stored, or those that are shown, and all the same everywhere."""
    path = folder / "mask.png"
    content = _changed(rng, MASKS, 0.7, path)
    allowed = rng.choice(ALLOWED)
    with Refused.expected(path):
        read = open_mask(path, allowed=allowed)
    ids = _turned_back(read.ids, read.orientation)
    depth, colour_type = content[24], content[25]
    stored, shown = _by_opencv(content, depth, colour_type)
    require(ids.shape == shown.shape[:2], f"the mask has shape {ids.shape}, OpenCV's {shown.shape}")
    if stored is not None:
        candidates = [stored] if colour_type == 0 and depth >= 8 else [stored, shown]
        require(any(np.array_equal(ids, other) for other in candidates), "ids are not those that OpenCV reads")
        return
    palette = _palette(content)
    inside = ids < len(palette)
    same = (palette[np.where(inside, ids, 0)] == shown).all(-1) | ~inside
    grey = (palette == palette[:, :1]).all() and (shown[..., 0] == ids).all()
    require(bool(same.all() or grey), "colours of the ids are not those that OpenCV reads")


def _by_opencv(content: bytes, depth: int, colour_type: int) -> tuple[NDArray[np.integer] | None, NDArray[np.integer]]:
    """Numbers as stored (None where there is a palette), and as shown: ``[h, w]``, or colours ``[h, w, 3]``."""
    pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or b"acTL" in content:  # of what claims to be animated it reads nothing
        raise Unjudged("OpenCV refuses it")
    if colour_type == 3:
        return None, pixels[..., 2::-1]
    shown = pixels if pixels.ndim == 2 else pixels[..., 0]
    return shown // (255 // (2**depth - 1)) if depth < 8 else shown, shown


def _palette(content: bytes) -> NDArray[np.uint8]:
    at = content.index(b"PLTE")
    length = struct.unpack(">I", content[at - 4 : at])[0]
    return np.frombuffer(content[at + 4 : at + 4 + length], np.uint8).reshape(-1, 3)


def _turned_back(ids: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """The pixels as stored: what EXIF's orientation did to them undone, by its table in the standard."""
    ids = ids.T if orientation >= 5 else ids
    flips = {2: (1, -1), 3: (-1, -1), 4: (-1, 1), 6: (-1, 1), 7: (-1, -1), 8: (1, -1)}
    down, right = flips.get(orientation, (1, 1))
    return ids[::down, ::right]


def _photos() -> Iterator[bytes]:
    scene = cv2.resize(NOISE.integers(0, 256, (5, 6, 3), dtype=np.uint8), (48, 40))
    forms = {
        "JPEG": ({}, {"progressive": True}, {"quality": 95, "subsampling": 0}, {"restart_marker_blocks": 1}),
        "PNG": ({},),
        "WEBP": ({}, {"lossless": True}),
        "BMP": ({},),
        "TIFF": ({}, {"compression": "tiff_lzw"}),
        "GIF": ({},),
        "PPM": ({},),
    }
    for form, variants in forms.items():
        for options in variants:
            for mode in ("RGB", "L"):
                for turn in (None, 6) if form in ("JPEG", "PNG", "WEBP") else (None,):
                    file = io.BytesIO()
                    exif = {"exif": b"Exif\0\0" + _exif(turn)} if turn else {}
                    Image.fromarray(scene).convert(mode).save(file, form, **options, **exif)
                    yield file.getvalue()
    yield png(NOISE.integers(0, 65536, (*SIZE, 3)), 16, 2)
    yield png(NOISE.integers(0, 65536, SIZE), 16)


PHOTOS = list(_photos())


def photo(rng: Random, folder: Path) -> None:
    """Pixels are about those of OpenCV, and have the size that is told of the header alone."""
    path = folder / "photo.jpg"
    content = _changed(rng, PHOTOS, 0.5, path)
    with Refused.expected(path):
        pixels = read_image(path)
    size, turn = size_and_turn(path)
    require(pixels.dtype == np.uint8 and pixels.ndim == 3 and pixels.shape[2] == 3, f"the photo is {pixels.shape}")
    require(pixels.shape[:2] == size, f"the photo is {pixels.shape[:2]}, but its header says {size}")
    colour = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    other = cv2.imdecode(np.frombuffer(content, np.uint8), colour)
    if other is None:
        raise Unjudged("OpenCV refuses it")
    mine = np.stack([_turned_back(pixels[..., channel], turn) for channel in (2, 1, 0)], -1)
    if content.startswith(TIFF) and mine.shape != other.shape:
        raise Unjudged("a size is given twice")
    require(mine.shape == other.shape, f"the photo has shape {mine.shape}, OpenCV's {other.shape}")
    far = np.abs(mine.astype(int) - other).max(initial=0)
    require(far <= NEAR, f"the photo differs from OpenCV's by {far}")

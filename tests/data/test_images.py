"""Image and mask files of every kind, damaged ones too: the right pixels or an error that names the file."""

import contextlib
import io
import struct
import sys
import zlib
from itertools import product

import cv2
import numpy as np
import pytest
from PIL import Image

from no_images import NO_IMAGES, claiming, spoil
from weakshot_seg.data.images import IMAGE_SUFFIXES, PNG, read_image, size_and_turn
from weakshot_seg.data.masks import read_mask
from weakshot_seg.errors import DataError

RNG = np.random.default_rng(0)
PHOTO = cv2.resize(RNG.integers(0, 256, (5, 6, 3), dtype=np.uint8), (48, 40))
MASK = np.kron(RNG.integers(0, 9, (5, 6), dtype=np.uint8), np.ones((8, 8), np.uint8))
SCENE = cv2.resize(RNG.integers(0, 256, (20, 24, 3), dtype=np.uint8), (192, 160))


def encoded(pixels, form, mode=None, **options):
    file = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(file, form, **options)
    return file.getvalue()


def outcome(kind, path):
    """What is read, None for an error that names the file and a remedy."""
    try:
        return read_mask(path) if kind == "mask" else read_image(path)
    except DataError as error:
        line = str(error)
    assert str(path) in line
    assert "replace" in line or "save it" in line
    assert "\n" not in line
    return None


FILES = {
    "mask": encoded(MASK, "PNG"),
    "stored mask": encoded(MASK, "PNG", compress_level=0),
    "photo": encoded(PHOTO, "PNG"),
    "jpeg": encoded(PHOTO, "JPEG"),
}


def flipped(content, bit):
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def with_pixels_flipped(content, bit):
    """A PNG file with one bit of its compressed pixels flipped and a checksum that fits."""
    at, parts = len(PNG), [PNG]
    while at < len(content):
        length, kind = struct.unpack(">I4s", content[at : at + 8])
        data = content[at + 8 : at + 8 + length]
        data = flipped(data, bit % (8 * length)) if kind == b"IDAT" else data
        parts += [struct.pack(">I4s", length, kind), data, zlib.crc32(kind + data).to_bytes(4, "big")]
        at += length + 12
    return b"".join(parts)


@pytest.mark.parametrize(
    ("name", "damage"),  # JPEG has no checksums: see the next test
    [("jpeg", "truncated"), *product(("mask", "stored mask", "photo"), ("truncated", "flipped", "flipped pixels"))],
)
def test_damage_is_no_pixels(name, damage, tmp_path):
    content = FILES[name]
    rng, path = np.random.default_rng(1), tmp_path / "file.png"
    path.write_bytes(content)
    kind = name.split()[-1]
    whole = outcome(kind, path)
    assert whole is not None
    refused = 0
    for _ in range(60):
        bit = int(rng.integers(8 * len(content)))
        if damage == "truncated":
            path.write_bytes(content[: bit // 8])
        else:
            path.write_bytes(flipped(content, bit) if damage == "flipped" else with_pixels_flipped(content, bit))
        read = outcome(kind, path)
        assert read is None or np.array_equal(read, whole), bit
        refused += read is None
    assert refused > 50


def test_any_bit_of_a_jpeg(tmp_path):
    """Without checksums other pixels cannot be recognised; but nothing else happens."""
    content, path = FILES["jpeg"], tmp_path / "file.jpg"
    for bit in np.random.default_rng(2).integers(8 * len(content), size=150).tolist():
        path.write_bytes(flipped(content, bit))
        read = outcome("photo", path)
        assert read is None or (read.dtype == np.uint8 and read.ndim == 3)


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"quality": 98, "subsampling": 0}], ids=str)
@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("damage", ["broken off", "zeros at the end"])
def test_a_jpeg_without_its_end_is_found(damage, mode, options, tmp_path):
    content, path = encoded(SCENE, "JPEG", mode, **options), tmp_path / "x.jpg"
    path.write_bytes(content)
    whole = read_image(path)
    for share in (0.5, 0.7, 0.9):
        rest = content[: int(share * len(content))]
        path.write_bytes(rest + (b"\xff\xd9" if damage == "broken off" else bytes(len(content) - len(rest))))
        with contextlib.suppress(DataError):
            assert not np.array_equal(read_image(path, verify=False), whole)  # grey, without a word
        with pytest.raises(DataError, match=r"x\.jpg.*replace or remove it"):
            read_image(path)


def test_a_jpeg_with_more_than_it_needs_is_sound(tmp_path):
    path = tmp_path / "x.jpg"
    content = encoded(SCENE, "JPEG", comment=b"camera", exif=b"Exif\0\0")
    for more in (content + bytes(50), content[:-2] + bytes(20) + content[-2:], content + content):
        path.write_bytes(more)
        assert read_image(path).shape == SCENE.shape


@pytest.mark.parametrize("kind", ["photo", "mask"])
@pytest.mark.parametrize("name", [*NO_IMAGES, "folder"])
def test_what_is_no_image(name, kind, tmp_path):
    path = tmp_path / "x.jpg"
    if name == "folder":
        path.mkdir()
    else:
        spoil(path, name)
    assert outcome(kind, path) is None


MODES = {"GIF": ("P",), "JPEG": ("L", "RGB", "CMYK"), "PNG": ("L", "P", "1", "LA", "RGB", "RGBA"), "TIFF": ("CMYK",)}


@pytest.mark.parametrize(("form", "mode"), [(form, mode) for form, modes in MODES.items() for mode in modes])
def test_images_of_any_mode_become_rgb(form, mode, tmp_path):
    path = tmp_path / "x.jpg"
    image = Image.fromarray(PHOTO).convert(mode)
    image.save(path, form, **({"save_all": True, "append_images": [image.rotate(180)]} if form == "GIF" else {}))
    with Image.open(path) as file:
        assert np.array_equal(read_image(path), np.asarray(file.convert("RGB")))
    assert size_and_turn(path) == (PHOTO.shape[:2], 1)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation(form, orientation, tmp_path):
    path, exif = tmp_path / "x.jpg", Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(PHOTO).save(path, form, exif=exif, quality=100)
    turned = {1: 0, 8: 1, 3: 2, 6: 3}.get(orientation)
    read = read_image(path)
    assert read.shape[:2] == (PHOTO.shape[:2] if orientation < 5 else PHOTO.shape[1::-1])
    assert size_and_turn(path) == size_and_turn(path, decode=True) == (read.shape[:2], orientation)
    if turned is not None:
        assert np.abs(read.astype(int) - np.rot90(PHOTO, turned)).mean() < 6


def test_sixteen_bits(tmp_path):
    pixels = np.arange(48 * 40, dtype=np.uint16).reshape(40, 48) * 34
    cv2.imwrite(str(tmp_path / "x.png"), pixels)
    assert np.array_equal(read_image(tmp_path / "x.png")[..., 0], pixels >> 8)
    cv2.imwrite(str(tmp_path / "mask.png"), pixels // 34 % 256)
    assert np.array_equal(read_mask(tmp_path / "mask.png"), pixels // 34 % 256)
    with pytest.raises(DataError, match=r"x\.png has the id"):
        read_mask(tmp_path / "x.png")


@pytest.mark.parametrize("form", ["png", "tiff"])
@pytest.mark.parametrize("shape", [(40, 48), (40, 48, 3)])
def test_twelve_bits_stored_as_sixteen(shape, form, tmp_path):
    """Nearly black if they were taken for 16; multiplied by 16 they are the photo."""
    path, pixels = tmp_path / f"x.{form}", RNG.integers(0, 4096, shape, dtype=np.uint16)
    cv2.imwrite(str(path), pixels)
    with pytest.raises(DataError, match="12 bits: by 16"):
        read_image(path)
    cv2.imwrite(str(path), pixels * 16)
    read = read_image(path)
    expected = pixels >> 4
    assert np.array_equal(read, expected[..., ::-1] if len(shape) == 3 else expected[..., None].repeat(3, 2))
    if len(shape) == 2:
        cv2.imwrite(str(path), np.zeros(shape, np.uint16))
        assert not read_image(path).any()  # a photo in the dark


@pytest.mark.parametrize("form", ["GIF", "AVIF", "JPEG", "JPEG2000", "PPM"])
def test_suffixes_of_photos(form, tmp_path):
    """Every suffix that Pillow knows for a kind of photo, but for those that name no photos."""
    known = {suffix for suffix, kind in Image.registered_extensions().items() if kind == form}
    assert known - IMAGE_SUFFIXES <= {".avifs", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx", ".pbm", ".pfm"}
    path = tmp_path / "x"
    path.write_bytes(encoded(SCENE, form))
    assert np.abs(read_image(path).astype(int) - SCENE).mean() < 16


@pytest.mark.parametrize("orientation", [1, 3, 6])
@pytest.mark.parametrize("name", ["x.HEIC", "x.jpg"])
def test_photos_of_phones(name, orientation, tmp_path):
    heif = pytest.importorskip("pillow_heif")
    path, exif = tmp_path / name, Image.Exif()
    exif[0x0112] = orientation
    smooth = cv2.resize(PHOTO[::20, ::20], (192, 160))
    heif.from_pillow(Image.fromarray(smooth)).save(path, format="HEIF", quality=95, exif=exif.tobytes())
    turned = np.rot90(smooth, {1: 0, 3: 2, 6: 3}[orientation])
    read = read_image(path)
    assert read.shape == turned.shape
    assert np.abs(read.astype(int) - turned).mean() < 4
    assert size_and_turn(path)[0] == read.shape[:2]
    path.write_bytes(path.read_bytes()[:300])
    assert outcome("photo", path) is None


def test_photos_of_phones_need_a_library(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "pillow_heif.as_plugin", None)
    (tmp_path / "x.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(100))
    with pytest.raises(
        DataError, match=r"x\.heic is of the kind HEIC, which needs pillow-heif: pip install -e '.\[heif\]'"
    ):
        read_image(tmp_path / "x.heic")


@pytest.mark.parametrize("kind", ["photo", "mask"])
def test_more_pixels_than_allowed(kind, tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)  # Pillow refuses twice as many, and keeps its limit
    path, read = tmp_path / "x.png", read_image if kind == "photo" else read_mask
    path.write_bytes(claiming(60, 70))
    with pytest.raises(DataError, match=r"x\.png has 60x70 pixels, more than max_pixels=4199: replace it|or remove it"):
        read(path, max_pixels=4199)
    with pytest.raises(DataError, match="cannot read"):  # it has not so many
        read(path, max_pixels=4200)
    Image.new("L", (60, 70)).save(path)
    assert read(path, max_pixels=4200).shape[:2] == (70, 60)
    assert Image.MAX_IMAGE_PIXELS == 1000
    assert read(path).shape[:2] == (70, 60)
    path.write_bytes(claiming(13_380, 13_380))
    with pytest.raises(DataError, match="more than max_pixels=178956970"):
        read(path)

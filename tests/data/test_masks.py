"""Mask files of every kind that tools write: the ids that were drawn, or one line that says how to save them."""

import io
import struct
import tracemalloc
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from fuzzing.png_bytes import png
from weakshot_seg.data.checks import BadFiles, LabelFormat, LabelledFile, survey_files
from weakshot_seg.data.masks import open_mask, read_mask
from weakshot_seg.errors import DataError

RNG = np.random.default_rng(0)
SIZE = (9, 13)  # of no depth whole bytes
VOC = np.array(
    [[sum(((i >> (3 * k + c)) & 1) << (7 - k) for k in range(3)) for c in range(3)] for i in range(256)], np.uint8
)
"""PASCAL VOC's colours, after the formula of its development kit."""


def blocks(*ids):
    """A map in which all of the ids occur."""
    return (
        np.resize(np.array(ids, np.uint8), SIZE)
        if len(ids) < 3
        else RNG.permuted(np.resize(np.array(ids, np.uint8), SIZE), axis=1)
    )


def by_pillow(pixels, form="PNG", mode=None, **options):
    file = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(file, form, **options)
    return file.getvalue()


def by_opencv(pixels, suffix=".png", *options):
    return cv2.imencode(suffix, pixels, options)[1].tobytes()


def with_palette(ids, palette):
    image = Image.fromarray(ids)
    image.putpalette(np.asarray(palette, np.uint8).tobytes())
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def file(tmp_path):
    def write(content, name="mask.png"):
        (tmp_path / name).write_bytes(content)
        return tmp_path / name

    return write


def refusal(path, allowed=range(256)):
    with pytest.raises(DataError) as caught:
        read_mask(path, allowed=allowed)
    line = str(caught.value)
    assert str(path) in line
    assert "save" in line
    assert "\n" not in line
    return line


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize(
    ("depth", "palette"), [(2, None), (4, None), (8, None), (16, None), (2, VOC), (4, VOC), (8, VOC)]
)
def test_ids_of_every_depth(depth, palette, interlaced, file):
    highest = min(2**depth, 256) - 1
    ids = blocks(*range(highest + 1)) if depth < 8 else blocks(0, 1, 7, 200, 255)
    allowed = (*range(min(highest + 1, 17)), 200, 255)
    colours = None if palette is None else palette[: 2**depth]
    content = png(ids, depth, 0 if palette is None else 3, colours, interlaced)
    read = read_mask(file(content), allowed=allowed)
    assert read.dtype == np.uint8
    assert np.array_equal(read, ids)


@pytest.mark.parametrize("interlaced", [False, True])
def test_one_bit_with_a_palette(interlaced, file):
    ids = blocks(0, 1)
    assert np.array_equal(read_mask(file(png(ids, 1, 3, VOC[:2], interlaced))), ids)


def test_files_of_other_writers(file):
    ids = blocks(0, 1, 2, 254, 255)
    for content in (
        by_opencv(ids),
        by_opencv(ids.astype(np.uint16)),
        by_pillow(ids),
        by_pillow(ids, compress_level=0),
        by_pillow(ids, optimize=True),
        by_pillow(ids.astype(np.int32), mode="I"),
        with_palette(ids, VOC),
        with_palette(ids, np.arange(256).repeat(3)),  # greys, each at its own number
        by_pillow(ids, mode="LA"),  # not transparent anywhere
        png(ids, chunks=[(b"tRNS", b"\0\1")]),
        png(ids, 8, 3, VOC, chunks=[(b"tRNS", bytes(256))]),
    ):
        assert np.array_equal(read_mask(file(content)), ids)


@pytest.mark.parametrize(
    ("stored", "depth", "drawn"),  # what is in the file, and what an optimiser may have made it of
    [((0, 1), 1, (0, 255)), ((0, 1, 3), 2, (0, 85, 255)), ((0, 1, 2), 4, (0, 17, 34))],
)
def test_few_bits_are_ids_or_brightness(stored, depth, drawn, file):
    path = file(png(blocks(*stored), depth))
    assert sorted({*np.unique(read_mask(path, allowed=range(16)))}) == list(stored)
    assert sorted({*np.unique(read_mask(path, allowed=[0, *drawn]))}) == list(drawn)
    assert f"{depth} bit" in refusal(path)


def test_a_two_bit_file_of_ids_that_one_bit_could_hold(file):
    """No optimiser would have left it so: 3 is no 255."""
    ids = blocks(0, 3)
    assert np.array_equal(read_mask(file(png(ids, 2))), ids)


def test_optimisers(file):
    """ImageMagick and oxipng store 0 and 255 in one bit, as OpenCV does if asked to."""
    drawn = blocks(0, 255)
    path = file(by_opencv(drawn, ".png", cv2.IMWRITE_PNG_BILEVEL, 1))
    assert path.read_bytes()[24] == 1
    assert np.array_equal(read_mask(path, allowed=(0, 255)), drawn)
    assert "1 bit per pixel" in refusal(path, allowed=(0, 1, 2, 255))
    assert not read_mask(file(png(blocks(0), 1))).any()
    truth = file(by_pillow(blocks(0, 1).astype(bool)))
    assert "1 bit per pixel" in refusal(truth)


def test_palettes_of_greys(file):
    path = file(png(blocks(0, 1, 2), 2, 3, np.array([0, 3, 255]).repeat(3)))
    assert {*np.unique(read_mask(path, allowed=(0, 3, 255)))} == {0, 3, 255}
    assert {*np.unique(read_mask(path, allowed=(0, 1, 2, 255)))} == {0, 1, 2}
    assert "palette of greys" in refusal(path)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (by_pillow(blocks(0, 1, 2), "JPEG", quality=100), "is a JPEG file"),
        (by_pillow(blocks(0, 1, 2), "WEBP", quality=90), "is a WEBP file"),
        (by_pillow(blocks(0, 1, 2), "WEBP", lossless=True), "is a WEBP file"),
        (by_pillow(blocks(0, 1, 2), "GIF"), "is a GIF file"),
        (by_pillow(blocks(0, 1, 2), mode="RGB"), "colour picture (mode RGB)"),
        (by_pillow(blocks(0, 1, 2), mode="RGBA"), "colour picture (mode RGBA)"),
        (png(RNG.integers(65536, size=(*SIZE, 2)), 16, 4), "16 bits, colour type 4"),
        (png(RNG.integers(65536, size=(*SIZE, 3)), 16, 2), "16 bits, colour type 2"),
        (png(np.stack([blocks(0, 1, 2), blocks(255, 0)], -1), 8, 4), "transparent pixels"),
    ],
)
def test_ids_that_are_not_certain(content, what, file):
    assert what in refusal(file(content))


def test_ids_that_are_too_high(file):
    pixels = blocks(0, 1).astype(np.uint16) * 257  # 8 bits made 16
    with pytest.raises(DataError, match="has the id 257: ids must be 0 to 255"):
        read_mask(file(by_opencv(pixels)))


def exif(turn):
    data = Image.Exif()
    data[0x0112] = turn
    return data


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("kind", ["L", "P", "16 bits", "after the pixels"])
def test_a_turned_mask_is_read_as_viewers_show_it(kind, turn, file):
    ids = blocks(0, 1, 2, 255)
    if kind == "L":
        content = by_pillow(ids, exif=exif(turn))
    elif kind == "P":
        content = png(ids, 8, 3, VOC, chunks=[(b"eXIf", exif(turn).tobytes()[6:])])
    elif kind == "16 bits":
        content = png(ids, 16, chunks=[(b"eXIf", exif(turn).tobytes()[6:])])
    else:
        whole, data = png(ids), exif(turn).tobytes()[6:]
        end = whole.rindex(b"IEND") - 4
        content = whole[:end] + png(ids, chunks=[(b"eXIf", data)])[33 : 33 + 12 + len(data)] + whole[end:]
    path = file(content)
    with Image.open(path) as shown:
        shown.load()
        expected = np.array(ImageOps.exif_transpose(shown))
    mask = open_mask(path)
    assert mask.orientation == turn
    assert np.array_equal(mask.ids, expected)
    assert (mask.ids.shape == SIZE) == (turn < 5)


@pytest.fixture
def survey(tmp_path):
    """Surveys photos and masks, each given as an orientation and an array; returns messages and remarks."""

    def run(*pairs):
        files = []
        for i, ((photo_turn, photo), (mask_turn, ids)) in enumerate(pairs):
            files.append(LabelledFile(f"{i}", tmp_path / f"{i}.jpg", tmp_path / f"{i}.png"))
            Image.fromarray(photo).save(files[-1].image, exif=exif(photo_turn) if photo_turn else b"")
            Image.fromarray(ids).save(files[-1].labels, exif=exif(mask_turn) if mask_turn else b"")
        result = survey_files(files, LabelFormat(range(4)), "test")
        return [problem.message for problem in result.problems], result.remarks

    return run


PHOTO = RNG.integers(256, size=(*SIZE, 3), dtype=np.uint8)
IDS = blocks(0, 1, 2, 255)


@pytest.mark.parametrize("turn", range(2, 9))
def test_photo_and_mask_turned_alike(turn, survey):
    assert survey(((turn, PHOTO), (turn, IDS))) == ([], ())


@pytest.mark.parametrize("turn", [5, 6, 7, 8])
def test_a_mask_drawn_on_the_stored_photo_is_not_to_be_resized(turn, survey):
    (problem,), _ = survey(((turn, PHOTO), (None, IDS)))
    assert f"EXIF orientation {turn}" in problem
    assert "do not resize" in problem
    assert survey(((turn, PHOTO), (None, IDS.T.copy()))) == ([], ())


@pytest.mark.parametrize("turn", [2, 3, 4])
def test_only_the_photo_is_turned_upside_down(turn, survey):
    half = ((turn, PHOTO), (None, IDS))
    problems, (remark,) = survey(half)
    assert problems == []
    assert "1 photos are turned by their EXIF orientation and their masks are not" in remark
    assert survey(half, ((6, PHOTO), (None, IDS.T.copy()))) == ([], ())  # these masks are drawn on photos as shown
    square = (6, PHOTO[:, :9]), (None, IDS[:, :9])
    assert "1 photos" in survey(square)[1][0]


@pytest.mark.parametrize(("photo", "mask"), [(None, 3), (6, 8), (3, 2)])
def test_turned_in_other_ways(photo, mask, survey):
    (problem,), _ = survey(((photo, PHOTO), (mask, IDS)))
    assert f"has the EXIF orientation {mask}, but its photo {photo or 1}" in problem


def test_a_turned_mask_with_the_sides_of_its_upright_photo(survey):
    assert survey(((None, PHOTO.transpose(1, 0, 2).copy()), (6, IDS))) == ([], ())


def test_a_palette_in_another_order(tmp_path):
    """As optimisers leave them: only the colours that occur, so that one colour has two numbers."""
    pictures = {"a": (0, 1, 15), "b": (0, 15), "c": (0, 1)}
    files = []
    for reduced in (False, True):
        for name, ids in pictures.items():
            drawn = blocks(*ids)
            content = with_palette(drawn, VOC)
            if reduced:
                used = np.unique(drawn)
                content = png(np.searchsorted(used, drawn), 2, 3, VOC[used])
            files.append(LabelledFile(name, tmp_path / f"{name}.jpg", tmp_path / f"{name}.png"))
            Image.fromarray(PHOTO).save(files[-1].image)
            files[-1].labels.write_bytes(content)
        problems = survey_files(files[-3:], LabelFormat(range(16)), "test").problems
        assert len(problems) == reduced
    assert "#c08080 under the number 1" in problems[0].message
    assert str(tmp_path / "a.png") in problems[0].message
    assert BadFiles(problems).problems == problems


@pytest.mark.parametrize(("width", "height"), [(1, 1), (6000, 5000), (3, 20_000)])
@pytest.mark.parametrize("depth", [1, 8])
def test_masks_of_one_id_are_whole(depth, width, height, file):
    """Nothing compresses better: megabytes of pixels come of the last bytes of a file."""
    image = Image.new("1" if depth == 1 else "L", (width, height))
    content = io.BytesIO()
    image.save(content, "PNG")
    ids = read_mask(file(content.getvalue()))
    assert ids.shape == (height, width)
    assert not ids.any()


def test_a_header_that_claims_more_pixels_costs_no_memory(file):
    content = bytearray(png(blocks(0, 1, 2), 8))
    content[16:24] = struct.pack(">II", 13_000, 13_000)
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    tracemalloc.start()
    with pytest.raises(DataError, match="pixels are missing"):
        read_mask(file(bytes(content)))
    assert tracemalloc.get_traced_memory()[1] < 10e6
    tracemalloc.stop()

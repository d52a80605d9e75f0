"""A contact sheet: small pictures in rows with lines of text below each."""

from collections.abc import Iterable, Sequence

from PIL import Image, ImageDraw, ImageFont, ImageOps

from weakshot_seg.utils.visualize import INK, PAPER

EDGE, GAP, LINE = 200, 12, 16  # pixels: of a picture, between them, of a line of text
COLUMNS, LINES = 6, 3


def contact_sheet(pictures: Iterable[tuple[Image.Image, Sequence[str]]], count: int) -> Image.Image:
    """``count`` pictures in rows of six, each with up to three lines of text, which are shortened to fit."""
    font, cell = ImageFont.load_default(12), EDGE + LINES * LINE + GAP
    columns = max(1, min(COLUMNS, count))
    sheet = Image.new("RGB", (GAP + columns * (EDGE + GAP), GAP + -(-count // columns) * cell), PAPER)
    draw = ImageDraw.Draw(sheet)
    for place, (picture, lines) in enumerate(pictures):
        x, y = GAP + place % columns * (EDGE + GAP), GAP + place // columns * cell
        small = ImageOps.contain(picture, (EDGE, EDGE))
        sheet.paste(small, (x + (EDGE - small.width) // 2, y + EDGE - small.height))
        for number, line in enumerate(lines[:LINES]):
            draw.text((x, y + EDGE + 2 + number * LINE), shortened(line, font, EDGE), font=font, fill=INK)
    return sheet


def shortened(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    """A text that is at most ``width`` pixels wide, with "..." for what is left out of its middle."""
    text = short = "".join(letter if letter.isprintable() else "?" for letter in text)
    kept = len(text)
    while kept > 2 and font.getlength(short) > width:
        kept -= 1
        short = f"{text[: kept // 2]}...{text[len(text) - (kept - kept // 2) :]}"
    return short

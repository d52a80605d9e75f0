"""Pictures and tables as a notebook shows them."""

import html
from base64 import b64encode
from collections.abc import Sequence
from io import BytesIO

from PIL import Image


def png(image: Image.Image) -> bytes:
    """A picture as a PNG file."""
    file = BytesIO()
    image.save(file, "PNG", compress_level=1)
    return file.getvalue()


def html_image(image: Image.Image) -> str:
    """A picture within HTML."""
    return f'<img src="data:image/png;base64,{b64encode(png(image)).decode()}" style="max-width: 100%">'


def html_table(rows: Sequence[Sequence[str]], sides: str) -> str:
    """A table, the first row its head; ``sides`` is "<" or ">" for each column: flush left or right."""
    lines = []
    for tag, row in zip(["th", *["td"] * (len(rows) - 1)], rows, strict=True):
        cells = [
            f'<{tag} style="text-align: {"right" if side == ">" else "left"}">{html.escape(text)}</{tag}>'
            for side, text in zip(sides, row, strict=True)
        ]
        lines.append(f"<tr>{''.join(cells)}</tr>")
    return f"<table>{''.join(lines)}</table>"

"""One self-contained HTML page of tables and pictures; every text is escaped."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable
from html import escape

from PIL import Image

from weakshot_seg.utils.tables import Table

STYLE = """
body { font: 14px/1.45 system-ui, sans-serif; color: #222630; max-width: 1180px; margin: 32px auto; padding: 0 20px }
h1 { font-size: 24px } h2 { font-size: 18px; margin-top: 32px }
table { border-collapse: collapse } th { text-align: left; color: #5b6270; font-weight: 600 }
th, td { padding: 3px 14px 3px 0; border-bottom: 1px solid #e3e5ea; vertical-align: top; overflow-wrap: anywhere }
.right, td:first-child { white-space: nowrap } .right { text-align: right }
.pictures { display: grid; grid-template-columns: repeat(auto-fill, minmax(210px, 1fr)); gap: 16px }
figure { margin: 0 } img { width: 100%; display: block } figcaption { font-size: 12px; overflow-wrap: anywhere }
.swatch { display: inline-block; width: 12px; height: 12px; margin-right: 5px; vertical-align: -1px }
.key { display: flex; flex-wrap: wrap; gap: 4px 18px; margin-bottom: 14px }
"""


def page(title: str, parts: Iterable[str]) -> str:
    """A whole document of parts that are HTML already."""
    head = f'<meta charset="utf-8"><title>{escape(title)}</title><style>{STYLE}</style>'
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head><body><h1>{escape(title)}</h1>\n' + "\n".join(
        [*parts, "</body></html>\n"]
    )


def table(content: Table) -> str:
    """A heading and a table."""
    sides = ["right" if side == ">" else "left" for side in content.sides]
    rows = []
    for number, row in enumerate(content.rows):
        tag = "td" if number else "th"
        cells = (f'<{tag} class="{side}">{escape(cell)}</{tag}>' for cell, side in zip(row, sides, strict=True))
        rows.append(f"<tr>{''.join(cells)}</tr>")
    return f"<h2>{escape(content.title)}</h2><table>{''.join(rows)}</table>"


def gallery(title: str, key: Iterable[tuple[str, tuple[int, int, int]]], figures: Iterable[str]) -> str:
    """A heading, a key of names and RGB colours, and figures in a grid."""
    swatches = (
        f'<span><span class="swatch" style="background: rgb{colour}"></span>{escape(name)}</span>'
        for name, colour in key
    )
    heading = f'<h2>{escape(title)}</h2><div class="key">{"".join(swatches)}</div>'
    return f'{heading}<div class="pictures">{"".join(figures)}</div>'


def figure(picture: Image.Image, caption: str) -> str:
    """A picture, as JPEG within the page, above its caption."""
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=88)
    data = base64.b64encode(file.getvalue()).decode()
    return (
        f'<figure><img alt="" src="data:image/jpeg;base64,{data}"><figcaption>{escape(caption)}</figcaption></figure>'
    )

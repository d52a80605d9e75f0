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
th, td { padding: 4px 18px 4px 0; border-bottom: 1px solid #e3e5ea; vertical-align: top }
.right { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums } .table { overflow-x: auto }
.pictures { display: grid; grid-template-columns: repeat(auto-fill, minmax(210px, 1fr)); gap: 16px }
figure { margin: 0 } img { width: 100%; display: block } figcaption { font-size: 12px; overflow-wrap: anywhere }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(360px, 1fr)); gap: 18px 24px }
.bars { display: grid; grid-template-columns: repeat(auto-fill, minmax(540px, 1fr)); gap: 18px 24px }
svg { max-width: 100%; height: auto; font-family: inherit }
.panels { display: grid; grid-template-columns: repeat(auto-fill, minmax(500px, 1fr)); gap: 22px }
.note { color: #5b6270; font-size: 13px; max-width: 900px }
details { margin: 10px 0 } summary { cursor: pointer; padding: 4px 0; font-weight: 600 }
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
        cells = (f'<{tag} class="{side}">{_breakable(cell)}</{tag}>' for cell, side in zip(row, sides, strict=True))
        rows.append(f"<tr>{''.join(cells)}</tr>")
    return f'<h2>{escape(content.title)}</h2><div class="table"><table>{"".join(rows)}</table></div>'


def gallery(title: str, colours: Iterable[tuple[str, tuple[int, int, int]]], figures: Iterable[str]) -> str:
    """A heading, a key of names and RGB colours, and figures in a grid."""
    heading = f"<h2>{escape(title)}</h2>" + key((name, f"rgb{colour}") for name, colour in colours)
    return f'{heading}<div class="pictures">{"".join(figures)}</div>'


def note(text: str) -> str:
    """A paragraph in small print."""
    return f'<p class="note">{escape(text)}</p>'


def key(entries: Iterable[tuple[str, str]]) -> str:
    """Names and CSS colours in a row."""
    swatches = (
        f'<span><span class="swatch" style="background: {escape(colour)}"></span>{escape(name)}</span>'
        for name, colour in entries
    )
    return f'<div class="key">{"".join(swatches)}</div>'


def fold(title: str, content: str, is_open: bool) -> str:
    """HTML below a title that shows or hides it."""
    return f"<details{' open' if is_open else ''}><summary>{escape(title)}</summary>{content}</details>"


def figure(picture: Image.Image, caption: str) -> str:
    """A picture, as JPEG within the page, above its caption."""
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=88)
    data = base64.b64encode(file.getvalue()).decode()
    return (
        f'<figure><img alt="" src="data:image/jpeg;base64,{data}"><figcaption>{escape(caption)}</figcaption></figure>'
    )


def _breakable(text: str) -> str:
    """Escaped; lines may end after a slash too."""
    return escape(text).replace("/", "/<wbr>")

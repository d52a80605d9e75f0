"""Pages and Markdown files from the templates beside this file."""

import re
from os import PathLike
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from weakshot_seg.utils.files import replacing
from weakshot_seg.utils.tables import number_text


def escape_markdown(text: object) -> str:
    """A text that Markdown shows as it is, on one line; text marked as safe stays as it is."""
    if isinstance(text, Markup):
        return str(text)
    return re.sub(r"([\\`*_{}\[\]<>|#~])", r"\\\1", " ".join(str(text).split()))


def slug(text: str) -> str:
    """A text as the name of something at the hub."""
    return re.sub("[^a-z0-9]+", "-", text.lower()).strip("-")


def _breakable(text: str) -> Markup:
    """Lines may end after a slash too."""
    return Markup(str(escape(text)).replace("/", "/<wbr>"))


LAYOUT: dict[str, Any] = {"trim_blocks": True, "lstrip_blocks": True, "keep_trailing_newline": True}
HTML = Environment(loader=PackageLoader("weakshot_seg.reporting"), autoescape=True, undefined=StrictUndefined, **LAYOUT)
HTML.policies["json.dumps_kwargs"] = {"ensure_ascii": False}  # YAML joins no surrogates
HTML.filters |= {"breakable": _breakable, "number": number_text, "slug": slug}
MARKDOWN = HTML.overlay(autoescape=False, finalize=escape_markdown)


def render(template: str, **values: object) -> str:
    """The text of a template, ``NAME.html`` or ``NAME.md``; all values are escaped."""
    return (HTML if template.endswith(".html") else MARKDOWN).get_template(template).render(values)


def write_text(path: str | PathLike[str], text: str) -> None:
    """Writes a file at once; names of files need not be valid Unicode."""
    with replacing(path) as temporary:
        temporary.write_text(text, "utf-8", "backslashreplace", newline="")

"""What a browser makes of a page."""

from html.parser import HTMLParser


class Elements(HTMLParser):
    """Tags, links and texts of a page, those of ``alt`` too; nothing on it may run."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.source = page
        self.tags: list[str] = []
        self.links: list[str] = []
        self.texts: list[str] = []
        self.feed(page)
        self.text = "".join(self.texts)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert not any(name.startswith("on") for name, _ in attrs)
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]
        self.texts += [value or "" for name, value in attrs if name == "alt"]

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

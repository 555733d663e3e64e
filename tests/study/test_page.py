"""A page is one file: nothing in it asks for another, and no text of ours becomes markup."""

from html.parser import HTMLParser

import numpy as np

from tinygen.study import page


class Reader(HTMLParser):
    """Collects tags and the addresses that a browser would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [v or "" for k, v in attrs if k in ("src", "href", "srcset", "action")]


def read(text: str) -> Reader:
    reader = Reader()
    reader.feed(text)
    return reader


def test_a_document_needs_no_network() -> None:
    picture = page.picture(np.zeros((2, 3, 1)), "a <black> square")
    parts = [
        page.heading("GPT"),
        page.paragraph("words"),
        page.table(["what", "gate"], [["nats", "met"], ["modes", "missed"]]),
        page.row([page.figure(picture, "a caption"), page.preformatted("text")]),
    ]
    text = page.document("tinygen demo", parts)
    found = read(text)
    assert found.addresses
    assert all(address.startswith("data:image/png;base64,") for address in found.addresses)
    assert "url(" not in text
    assert "@import" not in text
    assert found.tags.count("td") == 4
    assert '<td class="met">met</td>' in text
    assert '<td class="missed">missed</td>' in text


def test_text_stays_text() -> None:
    nasty = "<script>alert('x')</script> & \"quotes\""
    parts = [
        page.heading(nasty),
        page.paragraph(nasty),
        page.preformatted(nasty),
        page.table([nasty], [[nasty]]),
        page.figure(page.picture(np.zeros((1, 1)), nasty), nasty),
    ]
    assert "script" not in read(page.document(nasty, parts)).tags

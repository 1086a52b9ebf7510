"""What a page of HTML holds, as a parser reads it, and faults that every page must be free of."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from html.parser import HTMLParser

VOID = {"meta", "link", "img", "br", "hr", "input", "col", "wbr"}
URLS = {"src", "href", "action", "data", "poster", "srcset", "xlink:href"}


@dataclass
class Element:
    """An element: its tag, its attributes, and the text in it."""

    tag: str
    attributes: dict[str, str]
    text: str = ""


class Page(HTMLParser):
    """The elements of a page in their order, and what is wrong with how they are nested."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[Element] = []
        self.faults: list[str] = []
        self._open: list[Element] = []
        self.feed(text)
        self.close()
        self.faults += [f"<{element.tag}> is never closed" for element in self._open]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        if len(set(names)) < len(names):
            self.faults.append(f"<{tag}> has an attribute twice")
        element = Element(tag, {name: value or "" for name, value in attrs})
        self.elements.append(element)
        if tag not in VOID:
            self._open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self._open.pop()

    def handle_endtag(self, tag: str) -> None:
        if not self._open or self._open[-1].tag != tag:
            self.faults.append(f"</{tag}> closes {self._open[-1].tag if self._open else 'nothing'}")
        else:
            self._open.pop()

    def handle_data(self, data: str) -> None:
        for element in self._open:
            element.text += data

    def of(self, tag: str) -> list[Element]:
        """The elements with a tag."""
        return [element for element in self.elements if element.tag == tag]

    @property
    def text(self) -> str:
        """All that can be read between tags."""
        return self.of("body")[0].text

    def problems(self) -> Iterator[str]:
        """What no page may have: bad nesting, a script, an address of elsewhere, ids twice, …"""
        yield from self.faults
        tags = {element.tag for element in self.elements}
        yield from (f"<{tag}>" for tag in tags & {"script", "iframe", "object", "embed", "base", "form"})
        ids = [element.attributes["id"] for element in self.elements if "id" in element.attributes]
        yield from {f"id {name} twice" for name in ids if ids.count(name) > 1}
        for element in self.elements:
            yield from self._problems_of(element, set(ids))
        if [element.tag for element in self.elements].count("h1") != 1:
            yield "not one h1"
        if not self.of("html")[0].attributes.get("lang"):
            yield "no language"
        levels = [
            int(element.tag[1]) for element in self.elements if element.tag in ("h1", "h2", "h3", "h4", "h5")
        ]
        yield from (f"h{low} before h{high}" for low, high in itertools.pairwise(levels) if high > low + 1)

    def _problems_of(self, element: Element, ids: set[str]) -> Iterator[str]:
        given = element.attributes
        for name, value in given.items():
            if name.startswith("on"):
                yield f"a handler {name}"
            if name in URLS and not value.startswith(("#", "data:")):
                yield f"an address: {value}"
        if given.get("href", "").startswith("#") and given["href"][1:] not in ids:
            yield f"a link to {given['href']}, which is not there"
        for name in ("aria-labelledby", "aria-describedby"):
            yield from (f"{name} {word}" for word in given.get(name, "").split() if word not in ids)
        if element.tag == "img" and not given.get("alt"):
            yield "an image without a text"
        if element.tag == "th" and not given.get("scope"):
            yield f"a heading of a table without scope: {element.text}"

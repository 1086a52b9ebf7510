"""Pages of one file: what they hold whatever they show, and by what they are known again."""

from pathlib import Path

import pytest
from jinja2 import DictLoader

from bccli.terminal import pages

HOSTILE = (
    "<script>alert(1)</script>",
    "a\"b'c",
    "x\x1b[31m",
    "line\nbreak",
    "\u202eevil",
    "\udce4",
    "a&amp;b",
)


@pytest.fixture
def set_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """A template that shows a text as a title, between tags and in an attribute."""
    environment = pages.environment()
    source = {
        "text.html.jinja": '{% extends "base.html.jinja" %}{% block title %}{{ text }}{% endblock %}'
        '{% block content %}<p title="{{ text }}">{{ text }}</p>{% endblock %}'
    }
    both = DictLoader({**source, **{name: _source(name) for name in environment.list_templates()}})
    monkeypatch.setattr(pages, "environment", lambda: environment.overlay(loader=both))


def _source(name: str) -> str:
    return (Path(pages.__file__).parents[1] / "pages" / name).read_text("utf-8")


@pytest.mark.parametrize("text", HOSTILE)
def test_a_text_stays_text(set_text: None, text: str) -> None:
    made = pages.page("text.html.jinja", kind="test", text=text)
    assert "<script" not in made
    assert not {"\x1b", "\u202e", "\udce4"} & set(made)
    made.encode()
    assert made.count("<p ") == 1


def test_a_page_asks_no_network_and_says_its_language(set_text: None) -> None:
    made = pages.page("text.html.jinja", kind="test", text="a")
    assert "http:" not in made
    assert "https:" not in made
    assert '<html lang="en">' in made
    assert made.count("<h1>") == 1


def test_a_page_is_known_by_its_kind(set_text: None, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text(pages.page("text.html.jinja", kind="test", text='<meta name="generator">'))
    assert pages.is_page(path, "test")
    assert not pages.is_page(path, "report")
    path.write_text("<!doctype html><title>mine</title>")
    assert not pages.is_page(path, "test")
    assert not pages.is_page(tmp_path / "none.html", "test")

from __future__ import annotations

import re

import pytest

from torchkiln.serving.page import asset
from torchkiln.serving.refusal import Refusal


def test_the_page_needs_nothing_from_elsewhere() -> None:
    for name in ("index.html", "style.css", "page.js"):
        content, kind = asset(name)
        assert content and "charset=utf-8" in kind
        assert not re.search(rb"(src|href)=.?(https?:)?//|@import|url.http", content)
    html = asset("index.html")[0]
    assert b"style=" not in html and b"onclick=" not in html and b"<script>" not in html  # the policy forbids them


def test_there_are_no_other_files() -> None:
    for name in ("../page.py", "", "page.py", "style.css/"):
        with pytest.raises(Refusal):
            asset(name)

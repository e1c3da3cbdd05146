"""A real headless Chromium, driven by playwright. Missing: the test is skipped, or fails with TOCSIN_STRICT=1."""

import importlib.util
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import pytest

PATH = os.environ.get("TOCSIN_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
needs_chromium = pytest.mark.skipif(
    PATH is None or importlib.util.find_spec("playwright") is None,
    reason="needs Chromium (apt-get install chromium, or TOCSIN_CHROMIUM names it) and the Python package playwright",
)


@dataclass(slots=True)
class Watch:
    """What a page did that nobody should see: errors, warnings, requests to another host than ``host``."""

    host: str
    problems: list[str] = field(default_factory=list)

    def follow(self, page: Any) -> None:
        page.on("pageerror", lambda error: self.problems.append(f"error: {error}"))
        page.on("console", lambda said: said.type in ("error", "warning") and self.problems.append(said.text))
        page.on("request", lambda sent: self._note(sent.url))
        page.on("dialog", lambda dialog: self.problems.append(f"dialog: {dialog.message}"))

    def _note(self, url: str) -> None:
        if urlsplit(url).hostname != self.host:
            self.problems.append(f"request to {url}")


@asynccontextmanager
async def launched() -> AsyncIterator[Any]:
    from playwright.async_api import async_playwright

    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=PATH, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            await browser.close()

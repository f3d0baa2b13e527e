"""The documentation site: it is built without a broken link, shows every page, and loads nothing from elsewhere."""

from __future__ import annotations

import os
import re
import runpy
import shutil
import subprocess
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest

CHECKOUT = Path(__file__).parents[2]
LOADED = {("script", "src"), ("img", "src"), ("link", "href"), ("iframe", "src"), ("source", "srcset")}
"""Elements whose addresses a browser loads by itself."""


def make(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run make as from a shell: what an outer make hands on does not apply."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    return subprocess.run(
        ["make", "--no-print-directory", *words],
        cwd=folder,
        env=environment,
        text=True,
        capture_output=True,
        check=False,
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    made = make(CHECKOUT, "docs-site", f"SITE={folder}")
    assert made.returncode == 0, made.stdout + made.stderr
    return folder


class Addresses(HTMLParser):
    """Collects what a page loads, what it links to, and its anchors."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loaded: set[str] = set()
        self.links: set[str] = set()
        self.anchors: set[str] = {""}
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if (tag, name) in LOADED and value:
                self.loaded.add(value)
            if tag == "a" and name == "href" and value:
                self.links.add(value)
            if name == "id" and value:
                self.anchors.add(value)


def addresses(site: Path) -> Iterator[tuple[Path, Addresses]]:
    for page in sorted(site.rglob("*.html")):
        yield page, Addresses(page.read_text(encoding="utf-8"))


def test_every_page_of_docs_is_in_the_navigation(site: Path) -> None:
    navigation = runpy.run_path(str(CHECKOUT / "docs" / "conf.py"))["NAVIGATION"]
    named = {page for part in navigation.values() for page in part.values()}
    assert {f"docs/{page.stem}" for page in (CHECKOUT / "docs").glob("*.md")} <= named
    first = Addresses((site / "index.html").read_text(encoding="utf-8"))
    assert {f"{page}.html" for page in named} <= first.links


def test_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    seen = 0
    for page, found in addresses(site):
        seen += len(found.loaded)
        assert [each for each in found.loaded if re.match(r"(https?:)?//", each)] == [], page
    for sheet in site.rglob("*.css"):
        text = sheet.read_text(encoding="utf-8")
        assert not re.search(r"@import|url\(\s*['\"]?(https?:)?//", text), sheet
    assert seen


def test_each_link_within_the_site_has_a_target(site: Path) -> None:
    pages = dict(addresses(site))
    seen, broken = 0, []
    for page, found in pages.items():
        for link in found.links:
            path, _, anchor = link.partition("#")
            target = (page.parent / unquote(path)).resolve() if path else page
            if re.match(r"[a-z]+:", link):
                continue
            seen += 1
            if not target.exists() or (target in pages and unquote(anchor) not in pages[target].anchors):
                broken.append(f"{page.relative_to(site)}: {link}")
    assert seen
    assert broken == []


def test_each_broken_link_is_an_error(tmp_path: Path, site: Path) -> None:
    sphinx = CHECKOUT / ".cache" / "docs-site-tools" / "bin" / "sphinx-build"
    (tmp_path / "docs").mkdir()
    shutil.copy(CHECKOUT / "docs" / "conf.py", tmp_path / "docs")
    navigation = runpy.run_path(str(CHECKOUT / "docs" / "conf.py"))["NAVIGATION"]
    for page in (page for part in navigation.values() for page in part.values()):
        (tmp_path / page).parent.mkdir(exist_ok=True)
        (tmp_path / f"{page}.md").write_text("# A page\n")

    def build(*links: str) -> subprocess.CompletedProcess[str]:
        text = "# First\n\n" + "\n".join(f"[a link]({link})" for link in links)
        (tmp_path / "README.md").write_text(text)
        command = [str(sphinx), "-q", "-n", "-W", "--keep-going", "-b", "html", "-c", "docs", ".", "site"]
        return subprocess.run(command, cwd=tmp_path, text=True, capture_output=True, check=False)

    good = build("docs/start.md", "docs/start.md#a-page")
    assert good.returncode == 0, good.stderr
    broken = ("docs/missing.md", "docs/start.md#missing-there", "missing.yaml", "#missing-here")
    bad = build(*broken)
    assert bad.returncode != 0
    assert [link for link in broken if f"'{link.rpartition('#')[2]}'" not in bad.stderr] == []

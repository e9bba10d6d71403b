"""Looks at the built site in headless Chromium: `python docs/browser_check.py SITE OUT`. Run by hand, no part of CI.

Needs `pip install playwright` and a Chromium of the system's (`apt install chromium`). Every page is opened at desktop and
phone width, light and dark. A page must not be wider than the window, every equation must have been rendered, no picture
may be missing, no link may lead nowhere, nothing may be asked of another host and nothing may fail. Then the search is
tried, and screenshots of some pages are left in OUT, to be looked at.
"""

import functools
import http.server
import sys
import threading
from pathlib import Path

from playwright.sync_api import Page, sync_playwright


WIDTHS = {"desktop": (1280, 900), "phone": (390, 844)}
SHOWN = (
    "",
    "tutorials/from-the-slides/",
    "guides/reproduce/",
    "api/protocols/",
    "api/flow/",
    "recipes/floq/",
    "glossary/",
)
PROBLEMS = """() => {
  const found = [];
  const wide = document.documentElement.scrollWidth - window.innerWidth;
  if (wide > 0) found.push(`wider than the window by ${wide}`);
  const scrolls = element => {
    for (; element; element = element.parentElement)
      if (["auto", "scroll"].includes(getComputedStyle(element).overflowX)) return true;
    return false;
  };
  for (const element of document.querySelectorAll("article *")) {
    if (element.closest(".katex-mathml, svg")) continue; // for readers of screens, and roots that are cut to fit
    const right = element.getBoundingClientRect().right;
    if (right > window.innerWidth + 1 && !scrolls(element)) {
      found.push(`cut off at the right: ${element.tagName} ${element.textContent.trim().slice(0, 40)}`);
      break;
    }
  }
  for (const element of document.querySelectorAll(".arithmatex"))
    if (!element.querySelector(".katex")) found.push(`not rendered: ${element.textContent.slice(0, 60)}`);
  for (const element of document.querySelectorAll(".katex-error"))
    found.push(`no equation: ${element.textContent.slice(0, 60)}`);
  for (const image of document.images)
    if (!image.complete || !image.naturalWidth) found.push(`no picture: ${image.src}`);
  return found;
}"""
LINKS = """() => [...document.querySelectorAll("a[href]")].map(link => link.href)"""
ANCHORS = """() => [...document.querySelectorAll("[id]")].map(element => element.id)"""


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves files and says nothing."""

    def log_message(self, *_) -> None:
        """Says nothing."""


def serve(site: Path) -> http.server.ThreadingHTTPServer:
    """Serves the site on a free port of this machine."""
    handler = functools.partial(Quiet, directory=str(site))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def look(page: Page, root: str, addresses: list[str], out: Path, name: str) -> tuple[list[str], dict[str, set[str]]]:
    """Opens each page; what is wrong with it, and where its links lead."""
    problems, links = [], {}
    for address in addresses:
        page.goto(root + address, wait_until="load")
        problems += [f"{name} /{address}: {problem}" for problem in page.evaluate(PROBLEMS)]
        links[address] = set(page.evaluate(LINKS))
        if address in SHOWN:
            page.screenshot(path=out / f"{name}-{address.strip('/').replace('/', '-') or 'home'}.png")
    return problems, links


def broken(page: Page, root: str, links: dict[str, set[str]]) -> list[str]:
    """Links into the site that lead to no page, or to no place on it."""
    targets = sorted({link for found in links.values() for link in found if link.startswith(root)})
    places: dict[str, set[str]] = {}
    problems = []
    for target in targets:
        address, _, place = target.partition("#")
        if address not in places:
            response = page.request.get(address)
            places[address] = set()
            if not response.ok:
                problems.append(f"link to nowhere: {target}")
            elif "html" in response.headers.get("content-type", ""):
                page.goto(address, wait_until="load")
                places[address] = set(page.evaluate(ANCHORS))
        if place and place not in places[address] and not place.startswith("__"):
            problems.append(f"no such place: {target}")
    return problems


def search(page: Page, root: str, word: str) -> list[str]:
    """Types a word into the search field, and expects results."""
    page.goto(root, wait_until="load")
    page.keyboard.press("/")
    page.keyboard.type(word, delay=30)
    try:
        page.wait_for_selector(".md-search-result__item", timeout=10_000)
    except Exception:
        return [f"search for {word!r} finds nothing"]
    return []


def main(site: Path, out: Path) -> int:
    """Looks at every page, prints what is wrong, and returns how much."""
    out.mkdir(parents=True, exist_ok=True)
    server = serve(site)
    root = f"http://127.0.0.1:{server.server_port}/"
    addresses = sorted({"" if p.parent == site else f"{p.parent.relative_to(site)}/" for p in site.rglob("index.html")})
    problems = []
    with sync_playwright() as playwright:
        flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=flags)
        for width, size in WIDTHS.items():
            for scheme in ("light", "dark"):
                viewport = {"width": size[0], "height": size[1]}
                page = browser.new_context(viewport=viewport, color_scheme=scheme).new_page()
                foreign: set[str] = set()
                page.on("request", lambda request, foreign=foreign: foreign.add(request.url))
                page.on("pageerror", lambda error, seen=problems: seen.append(f"error in a script: {error}"))
                found, links = look(page, root, addresses, out, f"{width}-{scheme}")
                problems += found
                problems += [f"asks another host: {u}" for u in foreign if not u.startswith((root, "data:", "blob:"))]
                if (width, scheme) == ("desktop", "light"):
                    problems += broken(page, root, links) + search(page, root, "successor")
                    page.screenshot(path=out / "search.png")
                page.context.close()
        browser.close()
    server.shutdown()
    print(f"{len(addresses)} pages, {len(problems)} problems", *sorted(set(problems)), sep="\n")
    return len(problems)


if __name__ == "__main__":
    sys.exit(min(main(Path(sys.argv[1]), Path(sys.argv[2])), 1))

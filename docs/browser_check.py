"""Checks the built site in headless Chromium: `python docs/browser_check.py SITE OUT`. Run by hand, not in CI.

Needs `pip install playwright` and the system's Chromium (`apt install chromium`). Opens every page at desktop and phone
width, light and dark. Reports pages wider than the window, equations that are not rendered, missing images, broken links,
requests to other hosts and script errors, then tests the search and writes screenshots of some pages to OUT.
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
    if (element.closest(".katex-mathml, svg")) continue; // for screen readers, and clipped roots
    const right = element.getBoundingClientRect().right;
    if (right > window.innerWidth + 1 && !scrolls(element)) {
      found.push(`cut off at the right: ${element.tagName} ${element.textContent.trim().slice(0, 40)}`);
      break;
    }
  }
  for (const element of document.querySelectorAll(".arithmatex"))
    if (!element.querySelector(".katex")) found.push(`not rendered: ${element.textContent.slice(0, 60)}`);
  for (const element of document.querySelectorAll(".katex-error"))
    found.push(`invalid equation: ${element.textContent.slice(0, 60)}`);
  for (const image of document.images)
    if (!image.complete || !image.naturalWidth) found.push(`missing image: ${image.src}`);
  return found;
}"""
LINKS = """() => [...document.querySelectorAll("a[href]")].map(link => link.href)"""
ANCHORS = """() => [...document.querySelectorAll("[id]")].map(element => element.id)"""


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves files without logging."""

    def log_message(self, *_) -> None:
        """Logs nothing."""


def serve(site: Path) -> http.server.ThreadingHTTPServer:
    """Serves the site on a free local port."""
    handler = functools.partial(Quiet, directory=str(site))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def look(page: Page, root: str, addresses: list[str], out: Path, name: str) -> tuple[list[str], dict[str, set[str]]]:
    """Opens each page; returns its problems and the targets of its links."""
    problems, links = [], {}
    for address in addresses:
        page.goto(root + address, wait_until="load")
        problems += [f"{name} /{address}: {problem}" for problem in page.evaluate(PROBLEMS)]
        links[address] = set(page.evaluate(LINKS))
        if address in SHOWN:
            page.screenshot(path=out / f"{name}-{address.strip('/').replace('/', '-') or 'home'}.png")
    return problems, links


def broken(page: Page, root: str, links: dict[str, set[str]]) -> list[str]:
    """Links into the site whose page or anchor does not exist."""
    targets = sorted({link for found in links.values() for link in found if link.startswith(root)})
    places: dict[str, set[str]] = {}
    problems = []
    for target in targets:
        address, _, place = target.partition("#")
        if address not in places:
            response = page.request.get(address)
            places[address] = set()
            if not response.ok:
                problems.append(f"broken link: {target}")
            elif "html" in response.headers.get("content-type", ""):
                page.goto(address, wait_until="load")
                places[address] = set(page.evaluate(ANCHORS))
        if place and place not in places[address] and not place.startswith("__"):
            problems.append(f"missing anchor: {target}")
    return problems


def search(page: Page, root: str, word: str) -> list[str]:
    """Types a word into the search field; a problem if there are no results."""
    page.goto(root, wait_until="load")
    page.keyboard.press("/")
    page.keyboard.type(word, delay=30)
    try:
        page.wait_for_selector(".md-search-result__item", timeout=10_000)
    except Exception:
        return [f"search for {word!r} finds nothing"]
    return []


def main(site: Path, out: Path) -> int:
    """Checks every page, prints the problems, and returns their number."""
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
                problems += [
                    f"request to another host: {u}" for u in foreign if not u.startswith((root, "data:", "blob:"))
                ]
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

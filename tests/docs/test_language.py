"""The prose of the project uses plain technical English: no phrase of `INSTEAD` occurs in it."""

import io
import re
import subprocess
import tokenize
from functools import cache
from pathlib import Path

import pytest


ROOT = Path(__file__).parents[2]
HERE = Path(__file__).resolve()

INSTEAD = {
    r"goes on with (a|the) (toy )?run|goes? on with it": "resumes",
    r"goes on after": "resumes after",
    r"broken off|broke off": "interrupted",
    r"at the door": "validated on construction",
    r"whole or not at all": "atomically",
    r"(latest|last) whole checkpoint": "latest intact checkpoint",
    r"what came (out )?of|what came out": "result, outcome",
    r"in the midst of": "during",
    r"run under way|evaluation under way|episodes? under way|chunk under way|trials? under way": "running, current",
    r"whoever": "any, the caller",
    r"with which it begins|begins? anew": "initial; starts from the beginning",
    r"from a noise(?! sample)|(?<!pairs )noises": "noise samples",
    r"is told|was told|are told": "takes, receives",
    r"readouts? of": "distilled critic",
    r"a straight line at constant speed; see|how far the way": "curvature",
    r"number that the system gave": "process ID",
    r"nothing to begin with": "no-op",
    r"takes? back all rows": "truncates to the first rows",
    r"further than data": "online fine-tuning",
    r"the words of the command": "subcommands, arguments",
    r"taken back and written anew": "removed and written again",
    r"near names": "similar names",
    r"however (it|that) (ends|does)": "even if killed",
    r"beside whatever": "independent of",
}
FOR_USERS = {
    r"(?<![`\"_])beside(?![`\":])": "next to, in addition to, together with, in parallel with",
    r"anew": "again, newly",
    r"stays as it is|not as it was": "does not change; was changed",
    r"of one's own": "your own",
    r"(?:is|are) to be tuned": "must be tuned",
    r"must say|tells? of|cannot be said": "must contain, contains, is not supported",
    r"likewise|hence|upon|thereof|thereafter|whence|shall": "also, therefore, on, of it, later",
    r"is no (?:function|multiple|dictionary)|no HDF5 file": "is not a ...",
    r"(?:written|are) over another": "overwritten",
    r"whose reductions are kept": "with the same sums and means in losses",
    r"must ascend|and ascend": "must be ascending",
    r"what parts make": "built from parts",
    r"nobody|somebody|oneself": "the caller, the user",
    r"is carried through": "is transported by, passes through",
    r"must count what": "must agree with",
}
"""Phrases that are also odd, but not replaced in the tests and tools yet."""
PUBLIC = ("docs", "floqzoo", "recipes", "examples", "README.md", "CONTRIBUTING.md", "CHANGELOG.md")


def patterns(phrases: dict[str, str]) -> dict[re.Pattern, str]:
    """Each phrase between word boundaries, in any case."""
    return {re.compile(rf"\b(?:{phrase})(?!\w)", re.IGNORECASE): better for phrase, better in phrases.items()}


PHRASES = patterns(INSTEAD)
PHRASES_FOR_USERS = patterns(FOR_USERS)


def tracked(*patterns: str) -> list[Path]:
    """The files of the repository, or of the folder where there is no git."""
    found = subprocess.run(["git", "ls-files", *patterns], cwd=ROOT, capture_output=True, text=True)
    names = found.stdout.split() if found.returncode == 0 else []
    return [ROOT / name for name in names] or [path for pattern in patterns for path in ROOT.rglob(pattern)]


@cache
def prose(path: Path) -> str:
    """The strings and comments of a Python file, or all of a Markdown file, in one line."""
    text = path.read_text()
    if path.suffix == ".py":
        kinds = {tokenize.STRING, tokenize.COMMENT, getattr(tokenize, "FSTRING_MIDDLE", tokenize.COMMENT)}
        tokens = tokenize.generate_tokens(io.StringIO(text).readline)
        text = " ".join(token.string.lstrip("#") for token in tokens if token.type in kinds)
    return " ".join(text.split())


PAGES = [path for path in tracked("*.py", "*.md") if path != HERE and path.exists()]


def test_there_is_prose_to_check():
    assert len(PAGES) > 300 and any(phrase.search("the caller, or whoever asks") for phrase in PHRASES)


@pytest.mark.parametrize("phrase", PHRASES, ids=INSTEAD)
def test_no_page_uses_the_phrase(phrase):
    found = [f"{path.relative_to(ROOT)}: {match.group()}" for path in PAGES for match in phrase.finditer(prose(path))]
    assert not found, f"write {PHRASES[phrase]!r} instead: {found}"


@pytest.mark.parametrize("phrase", PHRASES_FOR_USERS, ids=FOR_USERS)
def test_no_page_for_users_uses_the_phrase(phrase):
    pages = [path for path in PAGES if path.relative_to(ROOT).parts[0] in PUBLIC]
    found = [f"{path.relative_to(ROOT)}: {match.group()}" for path in pages for match in phrase.finditer(prose(path))]
    assert not found, f"write {PHRASES_FOR_USERS[phrase]!r} instead: {found}"


def test_the_phrases_for_users_are_found():
    odd = "It lies beside it, hence a task of one's own must say so; the lower bound is to be tuned and is no multiple of 2."
    assert sum(bool(phrase.search(odd)) for phrase in PHRASES_FOR_USERS) == 6
    assert not any(phrase.search("`beside`: additional arrays, `restore_beside`") for phrase in PHRASES_FOR_USERS)

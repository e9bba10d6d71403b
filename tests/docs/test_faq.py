"""The messages on the FAQ page are those of the code."""

import re
from pathlib import Path

import pytest


ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "guides" / "faq.md").read_text()
MESSAGES = re.findall(r"^\| `([^`]+)` \|", PAGE, re.MULTILINE)
CODE = re.sub(r'"\s+f?"', "", " ".join(path.read_text() for path in sorted(ROOT.glob("floqzoo/**/*.py"))))
FROM_TYRO = {"Unrecognized options"}


def test_there_are_messages():
    assert len(MESSAGES) > 20 and set(MESSAGES) > FROM_TYRO


@pytest.mark.parametrize("message", [message for message in MESSAGES if message not in FROM_TYRO])
def test_a_message_is_in_the_code(message):
    assert message in CODE

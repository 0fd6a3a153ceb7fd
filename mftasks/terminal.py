"""What a person at a terminal reads: text from data is shown as it is, never interpreted.

Ids, titles, paths and error messages may hold anything: `[markup]` of rich, or control characters
that move the cursor, colour the screen or turn the reading direction around.
"""

from __future__ import annotations

import logging
import re
import sys

import msgspec
from rich.console import Console
from rich.highlighter import JSONHighlighter
from rich.logging import RichHandler
from rich.text import Text

LOG_WIDTH = 140
# C0 and C1 controls, surrogates, line separators, and the marks that change the reading direction.
_CONTROL = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)


def console(*, stderr: bool = False) -> Console:
    """Return a console for people; a log file gets lines that are wide enough for tables."""
    found = Console(stderr=stderr)
    return found if found.is_terminal else Console(stderr=stderr, width=LOG_WIDTH)


def printable(text: str) -> str:
    r"""Return `text` with control characters as escapes, such as `\x1b`; lines and tabs stay."""
    return _CONTROL.sub(lambda found: ascii(found.group())[1:-1], text)


def plain(value: object) -> Text:
    """Return a value from data as one line that rich shows as it is."""
    return Text(printable(str(value)).replace("\n", r"\n").replace("\t", r"\t"))


def json(data: bytes) -> Text:
    r"""Return JSON, indented and coloured, with control characters as its own escapes, `\u001b`."""
    text = msgspec.json.format(data, indent=2).decode()
    return JSONHighlighter()(_CONTROL.sub(lambda found: rf"\u{ord(found.group()):04x}", text))


def print_error(message: str) -> None:
    """Print what went wrong to stderr, after the word error."""
    text = Text.assemble(("error", "bold red"), " ", printable(message))
    console(stderr=True).print(text, soft_wrap=True)


def log_to_stderr(*, timed: bool = True) -> None:
    """Log in colour to a person at a terminal, and as plain lines to a file.

    Lines that a parent process logs again are not `timed`: the parent adds the time.
    """
    if sys.stderr.isatty():
        handler: logging.Handler = RichHandler(console=Console(stderr=True), show_path=False)
        handler.setFormatter(_Printable("%(message)s"))
    else:
        handler = logging.StreamHandler()
        handler.setFormatter(_Printable("%(asctime)s %(message)s" if timed else "%(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    logging.getLogger("botocore").setLevel(logging.WARNING)


class _Printable(logging.Formatter):
    """A formatter whose lines hold no control characters."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))

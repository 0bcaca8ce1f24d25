"""Text of others as text, in every medium: names of people, methods, models and files, statuses and reasons.

A name may hold anything: markup of the medium it is printed in, a formula, codes that steer a terminal, characters that
turn the line round. Each function returns text that the medium shows as it is. Characters that show nothing of their
own are spelt out first, the same in all of them: a line break as ``\\n``, an escape as ``\\x1b``.
"""

from __future__ import annotations

import functools
import re
import unicodedata

_JOINERS = "\u200c\u200d"
"""Scripts of Persia and India, and emoji, are written with them."""

_HTML = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#x27;"}
_MARKDOWN_ANYWHERE = re.compile(r"[\\`*\[\]|~$]|(?<![^\W_])_|_(?![^\W_])|:(?=//)|(?<=\bwww)\.|@(?=\w)")
_MARKDOWN_FIRST = re.compile(r"^(?=[#=]|[+-](?!\d))|^(\d+)(?=[.)](?:\s|$))")
_ENTITY = re.compile(r"&(?=#|\w+;)")
_LONGEST_LABEL = 80
_FORMULA = tuple("=+-@\t\r")
_LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "†": r"$^{\dagger}$",
    "‡": r"$^{\ddagger}$",
    "§": r"\S{}",
    "¶": r"\P{}",
    "◊": r"$\diamond$",
    "−": r"$-$",
    "–": "--",
    "×": r"$\times$",
    "±": r"$\pm$",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "∞": r"$\infty$",
    "≥": r"$\geq$",
    "≤": r"$\leq$",
    "ε": r"$\varepsilon$",
}


def terminal(text: str, keep: str = "") -> str:
    """Text for a terminal or log: control characters, changes of direction and other invisible ones are spelt out,
    but for those in ``keep``.

    Rich reads markup in plain strings: give it the result as ``rich.text.Text``.
    """
    return text if text.isprintable() else "".join(sign if sign in keep else _visible(sign) for sign in text)


def html(text: str) -> str:
    """Text between tags or in a quoted attribute of HTML."""
    return "".join(_HTML.get(character, character) for character in terminal(text))


def markdown(text: str) -> str:
    """Text in Markdown as GitHub reads it, on a line of its own, in a list or in a cell of a table.

    Nothing in it becomes markup, HTML, a link, mathematics or the end of a cell. An underscore inside a word means
    nothing in Markdown and stays readable.
    """
    plain = _MARKDOWN_ANYWHERE.sub(lambda found: f"\\{found[0]}", terminal(text).strip())
    plain = _ENTITY.sub("&amp;", plain).replace("<", "&lt;").replace(">", "&gt;")
    return _MARKDOWN_FIRST.sub(lambda found: f"{found[1]}\\" if found[1] else "\\", plain)


def latex(text: str) -> str:
    """Text in LaTeX, symbols of the tables included.

    A bracket or star at the start would be taken for an argument of the line break before it.
    """
    plain = "".join(_LATEX.get(character, character) for character in terminal(text))
    return f"{{}}{plain}" if plain.startswith(("[", "*")) else plain


def csv(text: str) -> str:
    """A cell of a CSV file that a spreadsheet shows and does not compute: a quote goes before what would be a formula.

    Numbers stay numbers. What stands in a file for programs is the text itself but for its invisible characters.
    """
    plain = terminal(text)
    if len(text) > 1 and unicodedata.normalize("NFKC", text.lstrip(" ")[:1]).startswith(_FORMULA) and not _number(text):
        return f"'{plain}"
    return plain


def figure(text: str) -> str:
    """A label of a figure: as `drawn`, and no mathematics."""
    return drawn(text).replace("$", r"\$")


def drawn(text: str, most: int = _LONGEST_LABEL) -> str:
    """Text in a picture: code points in place of characters that the pictures' font lacks, and at most ``most``
    characters, to leave room for the rest."""
    known = _glyphs()
    plain = "".join(sign if ord(sign) in known else code_point(sign) for sign in terminal(text))
    return plain if len(plain) <= most else f"{plain[:most]}…"


def _visible(character: str) -> str:
    spelt_out = not character.isprintable() and character not in _JOINERS and unicodedata.category(character) != "Zs"
    return code_point(character) if spelt_out else character


def code_point(character: str) -> str:
    """A character as its escape: ``\\n``, ``\\x1b``, ``\\u202e``."""
    return character.encode("unicode_escape").decode()


def _number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


@functools.cache
def _glyphs() -> frozenset[int]:
    """The characters of the figures' font; it travels with matplotlib, which is loaded for figures only."""
    from matplotlib.font_manager import findfont, get_font

    return frozenset(get_font(findfont("DejaVu Sans")).get_charmap())

"""Equations as MathML, converted here and not in the browser; subscripts in sentences."""

from __future__ import annotations

import re
from functools import cache
from html import unescape
from itertools import pairwise
from xml.etree.ElementTree import Element, tostring

from latex2mathml.converter import convert_to_element
from markupsafe import Markup, escape

from .words import printable

LARGE_OPERATORS = {"∑", "∏"}
MINUS, PRIME = "\N{MINUS SIGN}", "\N{PRIME}"
LIMITS = {"msub": "munder", "msup": "mover", "msubsup": "munderover"}

_SUBSCRIPT = re.compile(
    r"(?<![A-Za-z0-9_])(d?[^\W\d_])_(?:\{([^{}]{1,12})\}|([A-Za-z0-9]))(?![A-Za-z0-9_])"
)
"""A quantity and its subscript: h_{t-1}, W_i, dh_t. Names in code are longer."""


def subscripted(text: object) -> object:
    """Return a sentence with its subscripts as markup; return any other value unchanged."""
    if not isinstance(text, str):
        return text
    return Markup(_SUBSCRIPT.sub(_below, str(escape(printable(text)))))  # noqa: S704 (escaped)


def _below(match: re.Match[str]) -> str:
    return f"{match[1]}<sub>{(match[2] or match[3]).replace('-', MINUS)}</sub>"


@cache
def mathml(latex: str) -> str:
    """Return a ``<math>`` element in display style, its LaTeX in ``alttext``.

    The markup goes into a page unescaped: pass only LaTeX of the reference.
    """
    math = convert_to_element(latex, display="block")
    math.attrib.pop("xmlns", None)  # HTML needs none
    _tidy(math)
    math.set("alttext", latex)
    return tostring(math, encoding="unicode")


def _tidy(parent: Element) -> None:
    """Adapt the output of latex2mathml to LaTeX's spacing."""
    parent.text = unescape(parent.text or "") or None
    for child in list(parent):
        _tidy(child)
        if child.tag == "mo" and not child.text:
            parent.remove(child)  # \left. is no character, and takes no room
    _join_word(parent)
    _set_letter(parent)
    _set_limits(parent)
    _set_signs(parent)
    _space_functions(parent)


def _join_word(element: Element) -> None:
    r"""Make one identifier of the letters of \mathrm{word}."""
    letters = list(element)
    upright = all(c.tag == "mi" and c.get("mathvariant") == "normal" for c in letters)
    if element.tag == "mrow" and len(letters) > 1 and upright:
        element.text = "".join(c.text or "" for c in letters)
        element[:] = []
        element.tag = "mi"


def _set_letter(element: Element) -> None:
    """Make functions identifiers, capital Greek letters upright and accents not stretchy."""
    text = element.text or ""
    if element.tag == "mo" and len(text) > 1 and text.isalpha() and text != "mod":
        element.tag = "mi"
    if element.tag == "mi" and "Α" <= text <= "Ω":
        element.set("mathvariant", "normal")
    if element.tag == "mover" and element[1].tag == "mo":
        element[1].set("stretchy", "false")
    if element.tag == "msup" and element[1].text == PRIME:
        element.tag = "mrow"  # the character itself is raised


def _set_limits(element: Element) -> None:
    """Put the limits of sums and products below and above; MathML moves them in tight places."""
    if element.tag in LIMITS and element[0].text in LARGE_OPERATORS:
        element.tag = LIMITS[element.tag]


def _set_signs(row: Element) -> None:
    """Set a minus that follows an operator as a sign, and a slash without room around it."""
    for before, mark in pairwise(row):
        if mark.tag == "mo" and mark.text == "/":
            mark.attrib |= {"lspace": "0", "rspace": "0"}
        if mark.text == MINUS and before.tag == "mo" and before.text not in (")", "]"):
            mark.set("form", "prefix")


def _space_functions(parent: Element) -> None:
    """Put a thin space between a function's name and a letter beside it."""
    if parent.tag not in ("mrow", "math", "mtd"):
        return
    children = list(parent)
    for before, after in reversed(list(pairwise(children))):
        neighbours = {before.tag, after.tag} & {"mo", "mspace", "mrow"}
        if not neighbours and (_is_function(before) or _is_function(after)):
            parent.insert(children.index(after), Element("mspace", width="0.167em"))


def _is_function(element: Element) -> bool:
    return element.tag == "mi" and len(element.text or "") > 1

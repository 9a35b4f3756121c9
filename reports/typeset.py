"""Equations as MathML, converted here and not in the browser."""

from __future__ import annotations

from functools import cache
from xml.etree.ElementTree import Element, tostring

from latex2mathml.converter import convert_to_element


@cache
def mathml(latex: str) -> str:
    """Return a ``<math>`` element in display style, its LaTeX in ``alttext``.

    It is markup and goes into a page unescaped: call it with LaTeX of the reference only.
    """
    math = convert_to_element(latex, display="block")
    math.attrib.pop("xmlns", None)  # HTML needs none
    math.set("alttext", latex)
    _tidy(math)
    return tostring(math, encoding="unicode")


def _tidy(parent: Element) -> None:
    """Join the letters of words, and set function names without an operator's space."""
    for child in parent:
        _tidy(child)
        if child.tag == "mo" and len(child.text or "") > 1 and (child.text or "").isalpha():
            if child.text != "mod":
                child.tag = "mi"
    if parent.tag == "mrow" and len(parent) > 1 and all(map(_is_upright_letter, parent)):
        word = "".join(child.text or "" for child in parent)
        for child in list(parent):
            parent.remove(child)
        parent.tag, parent.text = "mi", word  # more than one letter: upright


def _is_upright_letter(element: Element) -> bool:
    return element.tag == "mi" and element.get("mathvariant") == "normal"

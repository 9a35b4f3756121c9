"""What the two schemas of JUnit XML in use both allow, as rules that need no schema and no library.

``junit-10.xsd`` of Jenkins' xUnit plugin and ``JUnit.xsd`` of Windy Road (Apache Ant's format) are
not in this repository; ``nox -s junit`` holds the same documents to the first of them itself.
"""

import re
from xml.etree import ElementTree as ET

COUNT, SECONDS = r"\d{1,9}", r"\d+(\.\d+)?"
TEXT, NAME = r"(?s).*", r"(?s).*\S.*"
WHEN = r"\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])T([01]\d|2[0-3]):[0-5]\d:[0-5]\d"
SAYS = {"message": TEXT, "type": TEXT}

CHILDREN = {
    "testsuites": r"(testsuite )*",
    "testsuite": r"properties (testcase )*system-out system-err ",
    "properties": r"(property )*",
    "testcase": r"((failure|error|skipped) )?",
}
"""The children of an element in their order; of others: none."""

ATTRIBUTES = {
    "testsuite": {
        "name": NAME, "package": TEXT, "id": COUNT, "hostname": NAME, "timestamp": WHEN,
        "tests": COUNT, "failures": COUNT, "errors": COUNT, "skipped": COUNT, "time": SECONDS,
    },
    "property": {"name": NAME, "value": TEXT},
    "testcase": {"name": TEXT, "classname": TEXT, "time": SECONDS},
    "failure": SAYS, "error": SAYS, "skipped": {"message": TEXT},
}  # fmt: skip
"""The attributes of an element, all of which it has, and what they hold; of others: none."""


def broken(xml: str) -> list[str]:
    """Return what a document does not hold to."""
    root = ET.fromstring(xml.encode("utf-8"))
    found = [] if root.tag == "testsuites" else [f"the root is {root.tag}"]
    for element in root.iter():
        found += _broken(element)
    return found


def _broken(element: ET.Element) -> list[str]:
    inside = "".join(f"{child.tag} " for child in element)
    rules = ATTRIBUTES.get(element.tag, {})
    found = []
    if not re.fullmatch(CHILDREN.get(element.tag, ""), inside):
        found.append(f"{element.tag}: {inside}")
    if element.attrib.keys() != rules.keys():
        found.append(f"{element.tag}: {sorted(element.attrib)}")
    for name, value in element.attrib.items():
        if not re.fullmatch(rules.get(name, ""), value):
            found.append(f"{element.tag}: {name} = {value!r}")
    if element.tag in CHILDREN and (element.text or "").strip():
        found.append(f"{element.tag}: holds text")
    return found

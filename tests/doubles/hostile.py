"""Values that somebody would put into a file to see what breaks, and places to put them."""

import copy

from hypothesis import strategies as st

SCRIPT = "</script><script>alert(1)</script><img src=x onerror=alert(1)>"
TEXTS = (
    SCRIPT, "../../../etc/passwd", "\x00\x07\x1b[31m\x7f\u202eevil", "\ud800",
    "@all |`~\n# [x](http://y)",
    "]]><!--&\"'", "javascript:alert(1)", "%s%n{0}{{7*7}}{% raw %}", "=1+1", "NaN", "",
    " ", "x" * 10**4,
)  # fmt: skip
NUMBERS = (0, -1, 2**63, 10**400, 1e308, -1e308, 5e-324, -0.0)
ODD = st.one_of(
    st.sampled_from(TEXTS), st.sampled_from(NUMBERS), st.none(), st.booleans(), st.floats(),
    st.just([]), st.just({}), st.just([[[]]]), st.text(max_size=20), st.integers(),
)  # fmt: skip
"""Also NaN and infinity, which Python writes into JSON and which is none."""


def places(value, above=()):
    """Yield the way to everything in a JSON value."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in [*pairs]:
        yield (*above, key)
        if isinstance(inner, (dict, list)):
            yield from places(inner, (*above, key))


def alter(value, draw):
    """Put something odd into some place of a JSON value."""
    *way, last = draw.choice([*places(value)])
    for key in way:
        value = value[key]
    value[last] = copy.deepcopy(draw.choice([*TEXTS, *NUMBERS, None, [], {}, [[]], True]))


@st.composite
def spoilt(draw, value, most=2):
    """Return a copy in which some things are replaced by odd ones, lost or told twice."""
    value = copy.deepcopy(value)
    for _ in range(draw(st.integers(1, most))):
        found = [*places(value)]
        if not found:
            break
        *way, last = draw(st.sampled_from(found))
        at = value
        for key in way:
            at = at[key]
        what = draw(st.sampled_from(["odd", "odd", "odd", "lost", "twice"]))
        if what == "odd":
            at[last] = draw(ODD)
        elif what == "lost":
            del at[last]
        elif isinstance(at, list):
            at.append(copy.deepcopy(at[last]))
        else:
            at[f"{last} "] = at[last]
    return value


def everywhere(value, name, odd):
    """Return a copy in which every text of this name is the odd one."""
    if isinstance(value, dict):
        return {
            key: odd if key == name and isinstance(each, str) else everywhere(each, name, odd)
            for key, each in value.items()
        }
    return [everywhere(each, name, odd) for each in value] if isinstance(value, list) else value

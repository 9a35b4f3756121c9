"""Sizes that replace those of drawn cases: a user's own, and large ones."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace

from hypothesis.strategies import SearchStrategy

from .case import Case


@dataclass(frozen=True)
class GivenSizes:
    """Steps, rows, widths of input and state, and layers; the defaults are small."""

    T: int = 5
    B: int = 3
    D: int = 2
    H: int = 4
    layers: int = 1

    @classmethod
    def parse(cls, text: str) -> GivenSizes:
        """Read text such as ``T=100,H=512``; raise ValueError with a reason for any other."""
        names = [f.name for f in fields(cls)]
        values: dict[str, int] = {}
        for part in text.split(","):
            name, _, number = (word.strip() for word in part.partition("="))
            if name not in names or name in values or not (number.isascii() and number.isdecimal()):
                raise ValueError(f"sizes {text!r:.60}: expected numbers of {', '.join(names)}, as "
                                 f"in T=100,H=512")  # fmt: skip
            values[name] = int(number[:9])  # more digits are too large in any case
        sizes = cls(**values)
        sizes.require()
        return sizes

    def require(self) -> None:
        """Raise ValueError for sizes that no case may have."""
        if self.T < 1:
            raise ValueError("sizes: T: expected 1 or more")
        try:
            Case(**asdict(self)).require()
        except ValueError as error:
            raise ValueError(str(error).replace("case: ", "sizes: ", 1)) from error

    def of(self, case: Case) -> Case:
        """Return a case with these sizes, and with those of its options that fit them."""
        sizes = asdict(self)
        resized = replace(case, **sizes)
        if resized.P >= resized.H:
            resized = replace(resized, P=0)
        if resized.layout == "unbatched":
            resized = replace(resized, B=1)
        return resized

    def cases(self, strategy: SearchStrategy[Case]) -> SearchStrategy[Case]:
        """Return the strategy of cases with these sizes instead of their own."""
        return strategy.map(self.of)

    def __str__(self) -> str:
        return ", ".join(f"{name}={value}" for name, value in asdict(self).items())


LARGE = (
    GivenSizes(T=2000, B=2, D=3, H=4),
    GivenSizes(T=2, B=2, D=300, H=5),
    GivenSizes(T=2, B=2, D=5, H=300),
    GivenSizes(T=2, B=300, D=3, H=5),
)
"""Sizes larger than drawn ones: many steps, inputs, units, rows."""

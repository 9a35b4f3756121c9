"""The cases that are recorded."""
from ..case import Case
CHOSEN: tuple[tuple[str, Case], ...] = (("smoke", Case(3,2,4,5)),("forward",Case(5,3,2,4,lengths=True,bidirectional=True)),("gradient",Case(5,3,2,4)),("transition",Case(1010,2,3,4)),("gradient-window",Case(133,2,3,66)),("wide",Case(3,2,5,129)),("dtype",Case(8,2,3,5)))

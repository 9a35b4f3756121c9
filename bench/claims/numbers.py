"""N1-N4 and P1-P4: the printed numbers and listings, each a claim that it is true."""

from __future__ import annotations

import numpy as np

from ...reference import documents
from ...reference.documents import Example
from .ledger import LAW, Evidence, Judge, claim

PRINTED = {
    "N1": ("forget_gate_example", "The worked forget gate.", ("D0",), ("E01", "E13")),
    "N2": ("four_step_chain", "Four steps of backpropagation: four tanh' factors times (W_a)⁴.",
           ("D0",), ("E07", "E08")),
    "N3": ("shrinking", "10 × 0.1 = 1; 10 × 0.01 = 0.1.", ("D2",), ()),
    "N4": ("one_hot_sentence", "“The cat sat on the mat” in one-hot rows.", ("D2",), ("E31",)),
    "P1": ("swapped_unpacking", "The listing of LSTMCELL.", ("D1",), ("E13", "E17", "E18")),
    "P2": ("index_slip", "s_3 = tanh(U x_t + W s_2).", ("D3",), ("E04",)),
    "P3": ("dates", "LSTM was introduced in 1998, GRU in 2014.", ("D1", "D2"), ()),
    "P4": ("attribution", "Chung et al. proved that the LSTM is strictly stronger than the GRU.",
           ("D1",), ()),
}  # fmt: skip
"""The function of ``reference.documents``, the statement, documents and equations of each."""


def _judge(maker: str) -> Judge:
    def judge(e: Evidence, rng: np.random.Generator) -> None:
        example: Example = getattr(documents, maker)()
        note = f"; {example.note}" if example.note else ""
        e.says(f"what is printed is what is true: {example.printed}", example.agrees,
               f"true: {example.true}{note}")  # fmt: skip

    return judge


for _id, (_maker, _statement, _documents, _about) in PRINTED.items():
    claim(_id, _statement, documents=_documents, about=_about, reading=LAW)(_judge(_maker))

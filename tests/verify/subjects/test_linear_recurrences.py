"""Linear recurrences of packages: each is held, or skipped where its package is missing."""

import warnings

import pytest

from gatewise.verify.checks import check_named
from gatewise.verify.execution.judge import Budget, hold
from gatewise.verify.subjects import subject_named
from gatewise.verify.subjects.frameworks.linear_recurrences import SUBJECTS
from gatewise.verify.subjects.protocol import SubjectUnavailable
from judgements import verdict_is


@pytest.mark.parametrize("check", ["forward", "gradient"])
@pytest.mark.parametrize("adapted", SUBJECTS, ids=lambda adapted: adapted.name)
def test_it_is_what_it_is_said_to_be(adapted, check):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            subject = subject_named(adapted.name)
        except SubjectUnavailable as missing:
            pytest.skip(str(missing))
    verdict_is(hold(subject, check_named(check), "float32", budget=Budget(3, 1)), "passed")


def test_they_are_listed_without_their_packages():
    for adapted in SUBJECTS:
        assert adapted.cells
        forms = getattr(adapted.value, "forms", ())
        assert adapted.options.forms == forms
        assert adapted.options.program == getattr(adapted.value, "form", *forms[:1] or [""])


@pytest.mark.parametrize("name", ["Mamba", "Mamba2", "Qwen3Next"])
@pytest.mark.parametrize("check", ["left-padding", "schedule"])
def test_whole_mixers_are_held_to_themselves(name, check):
    """Mamba's forgets its memory in a second call of several steps."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            subject = subject_named(f"transformers-layers:{name}")
            subject.version()
        except SubjectUnavailable as missing:
            pytest.skip(str(missing))
    verdict = hold(subject, check_named(check), "float32", budget=Budget(2, 2), shrink=False)

    assert verdict.wrong == ((name, check) == ("Mamba", "schedule")), verdict.message
    assert verdict.status in ("passed", "failed"), verdict.message


def test_packed_sequences_of_a_package():
    (adapted,) = (each for each in SUBJECTS if each.options.packed)
    try:
        subject = subject_named(adapted.name)
    except SubjectUnavailable as missing:
        pytest.skip(str(missing))
    verdict_is(hold(subject, check_named("packed"), "float32", budget=Budget(2, 2)), "passed")

"""Answers that would not work are rejected with a sentence that says what to type instead."""

import pytest

from hooks.pre_gen_project import problems

from .conftest import Bake

GOOD = {
    "project_name": "Loan default",
    "project_slug": "loan-default",
    "description": "A model.",
    "author": "Your name",
    "github_owner": "your-account",
    "p95_ms": "100",
}
REJECTED = [
    ("project_slug", "Loan Default", "lower-case letters"),
    ("project_slug", "loan_default", "lower-case letters"),
    ("project_slug", "2-loans", "a letter first"),
    ("project_slug", "loan--default", "single hyphens"),
    ("project_slug", "-loan", "single hyphens"),
    ("project_slug", "loan-", "single hyphens"),
    ("project_slug", "кредит", "lower-case letters"),
    ("project_slug", "", "lower-case letters"),
    ("project_slug", "???", "lower-case letters"),
    ("project_slug", "../elsewhere", "lower-case letters"),
    ("project_slug", "a/b/c", "lower-case letters"),
    ("project_slug", "loan\n", "lower-case letters"),
    ("project_slug", "l" * 51, "up to 50"),
    ("github_owner", "your account", "github.com/your-account"),
    ("github_owner", "https://github.com/me", "github.com/your-account"),
    ("p95_ms", "fast", "milliseconds above 0"),
    ("p95_ms", "100 ms", "milliseconds above 0"),
    ("p95_ms", "12,5", "such as 100 or 12.5"),
    ("p95_ms", "0", "milliseconds above 0"),
    ("p95_ms", "-1", "milliseconds above 0"),
    ("p95_ms", "nan", "milliseconds above 0"),
    ("p95_ms", "inf", "milliseconds above 0"),
    ("p95_ms", "9" * 400, "milliseconds above 0"),
    ("p95_ms", "", "milliseconds above 0"),
    ("author", "A\nB", "without line breaks"),
    ("description", "tab\tbed", "without line breaks or tabs"),
    ("description", " ", "at least a word"),
    ("project_name", "bell\x07", "one line of text"),
]


def test_the_defaults_are_accepted() -> None:
    """No sentence for answers that work."""
    assert problems(GOOD) == []


@pytest.mark.parametrize("slug", ["a", "a1", "loan-default-2", "l" * 50])
def test_good_slugs_are_accepted(slug: str) -> None:
    """What can name a folder, a model and an image is not refused."""
    assert problems(GOOD | {"project_slug": slug}) == []


@pytest.mark.parametrize(("question", "answer", "advice"), REJECTED)
def test_each_rejection_names_the_question_and_the_way_out(question: str, answer: str, advice: str) -> None:
    """One sentence for one bad answer."""
    (sentence,) = problems(GOOD | {question: answer})
    assert sentence.startswith(f"{question} {answer!r} ")
    assert advice in sentence


def test_every_bad_answer_gets_its_sentence() -> None:
    """Whoever typed two wrong answers learns about both at once."""
    assert len(problems(GOOD | {"project_slug": "X", "p95_ms": "0"})) == 2


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("project_slug", "Loan Default"),
        ("project_slug", "../elsewhere"),
        ("project_slug", "a/b/c"),
        ("project_slug", "???"),
        ("p95_ms", "0"),
        ("author", 'A"""\nimport os'),
    ],
)
def test_a_rejection_leaves_nothing_behind(bake: Bake, question: str, answer: str) -> None:
    """cookiecutter has made the project's folder by then, whatever the slug; it has to be gone again."""
    baked = bake(**{question: answer})
    assert baked.status == 1
    assert f"{question} {answer!r}" in baked.printed
    assert list(baked.output.iterdir()) == []
    assert not (baked.output.parent / "elsewhere").exists()

"""training.new.columns and target: what a column is, and what gives the target away."""

import random
from collections import Counter
from collections.abc import Sequence

import pytest

from training.cells import PLAIN, Numerals
from training.new import columns, target
from training.new.columns import Column
from training.source.rows import DataError

DICE = random.Random(7)
MANY = range(200)


def look(cells: Sequence[str], name: str = "x", numerals: Numerals = PLAIN) -> Column:
    return columns.look(name, Counter(cells), numerals)


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        ([f"{n / 7:.3f}" for n in MANY], ("number", "", ())),
        (["1", "2", "3", "-7.5e3", ""], ("number", "", ())),
        (["1", "2", "NA", "3", "N/A"], ("number", "", ("N/A", "NA"))),
        ([*map(str, MANY), *map(str, MANY), "unclear"], ("number", "", ("unclear",))),
        ([*map(str, MANY), *map(str, MANY), "-999", "-999"], ("number", "", ("-999",))),
        (["1", "2", "about 3"], ("text", "", ())),
        (["01067", "10115", "80331"], ("text", "", ())),
        (["yes", "No", "yes", ""], ("boolean", "", ())),
        (["0", "1", "1"], ("boolean", "", ())),
        (["True", "False", "?"], ("boolean", "", ("?",))),
        (["yes", "no", "maybe"], ("text", "", ())),
        (["f", "m"], ("text", "", ())),
        (["2024-01-31", "2024-02-01", ""], ("date", "", ())),
        (["2024-01-31 10:00", "2024-02-01T11:30:00Z"], ("date", "", ())),
        (["31/01/2024", "01/02/2024"], ("date", "%d/%m/%Y", ())),
        (["01/31/2024", "01/02/2024"], ("date", "%m/%d/%Y", ())),
        (["31.1.2024 08:15", "1.2.2024 17:00"], ("date", "%d.%m.%Y %H:%M", ())),
        (["Jan 31, 2024", "Feb 01, 2024"], ("date", "%b %d, %Y", ())),
        (["31-Jan-24", "01-Feb-24"], ("date", "%d-%b-%y", ())),
        (["red", "green", "red"], ("text", "", ())),
        (["café", "Zoë", "café"], ("text", "", ())),
        (["male", "female", "NA", "None", "Nan"], ("text", "", ("NA",))),
        (["NA", "DE", "GB"], ("text", "", ())),
    ],
)
def test_a_column_is_what_all_its_texts_are(cells: list[str], expected: tuple[str, str, tuple[str, ...]]) -> None:
    """Kind, format and words for a missing value."""
    column = look(cells)
    assert (column.kind, column.form, column.missing) == expected


@pytest.mark.parametrize(
    ("cells", "name", "why"),
    [
        ([""] * 30, "x", "it is empty"),
        (["a"] * 30, "x", "every row says 'a'"),
        ([str(n) for n in range(5, 65)], "x", "it numbers the rows"),
        ([str(DICE.randrange(10**6)) for _ in MANY], "customer_id", "an identifier"),
        ([str(DICE.randrange(10**6)) for _ in MANY], "orderId", "an identifier"),
        ([str(DICE.randrange(10**6)) for _ in MANY], "pidnum", "an identifier"),
        ([f"{n * 7 % 199},{n:03}.50 $" for n in MANY], "x", "numbers that are written as '0,000.50 $'"),
        ([f"{n:05}-{n * 7 % 100}" for n in MANY], "x", "200 different texts in 200 rows"),
    ],
)
def test_what_says_nothing_is_left_out(cells: list[str], name: str, why: str) -> None:
    """Empty, the same in each row, or another in each row."""
    column = look(cells, name)
    assert column.kind is None
    assert why in column.why


def test_numbers_that_differ_in_each_row_are_numbers() -> None:
    """A price, a distance: only what numbers the rows, or is called an identifier, is none."""
    assert look([str(DICE.randrange(10**6)) for _ in MANY], "price").kind == "number"
    assert look([f"{DICE.random():.9f}" for _ in MANY], "id").kind == "number"


def test_numbers_with_a_unit_are_texts_to_look_at() -> None:
    """Where they group rows they are kept."""
    assert look(["5%", "10%", "5%"]).doubt.startswith("numbers that are written as '5%'")
    assert not look(["A5", "B5", "2x4"]).doubt


@pytest.mark.parametrize(
    ("numbers", "start"),
    [
        ([1_700_000_550, 1_700_003_678, 1_700_000_001], 1_700_000_000),
        ([20_240_131, 20_230_228, -999], 20_230_000),
        ([16_777_216, 5, 7], 0),
        ([16_777_217, 5, 7], 0),  # no start would help
        ([20_000_000, 40_000_000, 20_000_001], 0),
        ([2**53 + 2, 2**53 + 4], 0),
        ([-1_700_000_550, -1_700_003_678], -1_700_004_000),
    ],
)
def test_large_numbers_are_counted_from_where_they_begin(numbers: Sequence[int], start: int) -> None:
    """A float32, which the model is fed, then tells them apart."""
    found = look([str(number) for number in numbers for _ in range(2)])
    assert (found.kind, found.start) == ("number", start)
    assert bool(found.why) == bool(start)


def test_a_time_of_day_is_seen() -> None:
    """Midnight alone is none."""
    assert look(["2024-01-31 10:00:00", "2024-02-01 00:00:00"]).clock
    assert not look(["2024-01-31 00:00:00", "2024-02-01 00:00:00"]).clock


def test_sentences_are_free_text() -> None:
    """They stay: their words count."""
    column = look([" ".join(DICE.choice(["good", "bad", "so", "so", "film"]) for _ in range(9)) for _ in MANY])
    assert (column.kind, column.free, column.spaced) == ("text", True, True)
    written = look(["".join(DICE.choice(["很好", "不好", "电影", "味道"]) for _ in range(9)) for _ in MANY])
    assert (written.kind, written.free, written.spaced) == ("text", True, False)
    assert look([f"{DICE.choice('王李张刘')}{DICE.choice('伟芳娜敏')}{n}" for n in MANY]).kind is None  # names


def test_a_decimal_comma_is_asked_for() -> None:
    """ "1,5" is a number where the file writes so."""
    assert look(["1,5", "2,25"], numerals=Numerals(",")).kind == "number"
    assert look(["1,5", "2,25"]).kind == "text"


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        ([f"${n}.50" for n in MANY], "numbers that are written as '$0.50'"),
        ([f"{n},{n % 90 + 10} %" for n in MANY], "numbers that are written as '0,10 %'"),
        ([f"{n / 7:.3f}" for n in MANY] + ["1O5"], "numbers, but for '1O5'"),
        ([f"2024-{n % 12 + 1:02}-{n % 28 + 1:02}" for n in range(300)] + ["2020-02-30"], "dates, but for '2020-02-30'"),
        ([f"10.0.{n}.7" for n in MANY], "it names rows"),
    ],
)
def test_what_hinders_a_column_is_named(cells: Sequence[str], said: str) -> None:
    """A unit, or a slip in one cell: that it "names rows" would send its reader the wrong way."""
    column = look(cells)
    assert said in (column.why or column.doubt)
    if column.odd:
        for wanted in ("", "regression"):
            with pytest.raises(DataError, match=said[:12]):
                target.decide(column, Counter(cells), wanted)  # type: ignore[arg-type]


def decide(cells: Sequence[str], wanted: target.Wanted = "") -> target.Target:
    return target.decide(look(cells, "y"), Counter(cells), wanted)


def test_a_target_is_a_class_or_a_number() -> None:
    """Texts and few numbers are classes; a person may know better."""
    quality = [str(n % 7) for n in MANY]
    assert decide(quality).task == "classification"
    assert decide(quality, "regression").task == "regression"
    assert decide([f"{n / 7}" for n in MANY]).task == "regression"
    assert decide([str(n) for n in MANY]).task == "regression"
    assert decide([str(n % 20 / 4) for n in MANY]).task == "regression"
    assert decide([str(float(n % 7)) for n in MANY]).task == "classification"
    with pytest.raises(DataError, match="holds texts, and a regression predicts numbers"):
        decide(["yes", "no"] * 30, "regression")
    assert decide(["0", "1"] * 30, "regression").task == "regression"
    with pytest.raises(DataError, match=r"200 different values in 200 rows.*no class to learn"):
        decide([f"name {n}" for n in MANY])


@pytest.mark.parametrize(
    ("cells", "positive"),
    [(["No"] * 20 + ["Yes"] * 30, "Yes"), (["a"] * 30 + ["b"] * 20, "b"), (["a"] * 20 + ["b"] * 20 + ["c"] * 20, "")],
)
def test_the_class_that_is_looked_for(cells: list[str], positive: str) -> None:
    """The one that says yes, else the rarer one of two."""
    assert decide(cells).positive == positive


def test_rare_classes_are_left_out() -> None:
    """And that is said."""
    found = decide(["a"] * 30 + ["b"] * 20 + ["c"] * 3)
    assert found.classes == ("a", "b")
    assert "1 others with fewer than 8 rows are left out" in found.why


def test_a_target_of_too_many_classes_is_refused_at_once() -> None:
    """And not fitted for hours without a word."""
    assert len(decide([f"gene {n % 200}" for n in range(1600)]).why) < 300
    with pytest.raises(DataError, match=r"'y' has 201 classes with 8 rows or more.*takes hours: group them"):
        decide([f"gene {n % 201}" for n in range(1608)])


def test_spaces_make_no_class() -> None:
    """As in files with a space after each comma."""
    assert decide(["a", " a", "b", "b ", " "] * 8).why == "2 classes: 'a' 50%, 'b' 50%; 8 rows without one are left out"


def test_a_word_for_no_answer_is_no_class() -> None:
    """Of texts and of numbers alike; the rows are counted."""
    for cells in (["a", "b"] * 20 + ["NA"] * 9 + [""], [str(n) for n in MANY] + ["NA"] * 9 + [""]):
        found = decide(cells)
        assert found.missing == ("NA",)
        assert "10 rows without one ('NA') are left out" in found.why
    with pytest.raises(DataError, match="'y' is empty in every row, or says 'NA': such words stand for"):
        decide(["", "NA"] * 20)
    with pytest.raises(DataError, match="'y' says 'a' in every row"):
        decide(["a", "NA"] * 20)


TRUTH = [DICE.choice("ab") for _ in range(2000)]


@pytest.mark.parametrize(
    ("cells", "kept", "doubt"),
    [
        ([{"a": "no", "b": "yes"}[label] for label in TRUTH], False, False),
        ([{"a": "1.5", "b": str(2 + DICE.random())}[label] for label in TRUTH], False, False),
        ([{"a": "", "b": str(DICE.random())}[label] for label in TRUTH], False, False),
        ([label if DICE.random() < 0.98 else "a" for label in TRUTH], True, True),
        ([label if DICE.random() < 0.9 else "a" for label in TRUTH], True, False),
        ([str(DICE.random()) for _ in TRUTH], True, False),
    ],
)
def test_a_column_that_is_the_target_is_found(cells: list[str], kept: bool, doubt: bool) -> None:
    """Under another name, as a number, or by being empty. Where it is nearly the target, a person is asked."""
    found = target.tells(look(cells), cells, TRUTH, "classification")
    assert (found.kind is not None, "in 9" in found.doubt) == (kept, doubt)


def test_a_text_gives_nothing_away_by_how_it_begins() -> None:
    """Its words are what the model learns from."""
    cells = [f"{label} was the opinion of this critic {n}" for n, label in enumerate(TRUTH)]
    assert target.tells(look(cells), cells, TRUTH, "classification") == look(cells)


def test_a_column_that_orders_the_rows_as_the_target_does_is_found() -> None:
    """The target in another unit."""
    truth = [str(DICE.random()) for _ in MANY]

    def told(noise: float) -> Column:
        cells = [str(100 - 2 * float(y) + DICE.gauss(0, noise)) for y in truth]
        return target.tells(look(cells), cells, truth, "regression")

    assert told(0).kind is None
    assert "orders the rows nearly as the target does" in told(0.05).doubt
    assert (told(0.5).kind, told(0.5).doubt) == ("number", "")


def test_who_is_empty_where_the_target_is() -> None:
    """It is measured with the target, so it may not be known before it."""
    truth = ["NA" if n % 10 == 0 else str(n) for n in MANY]
    late = ["" if n % 10 == 0 else str(n % 7) for n in MANY]
    gaps = ["" if n % 5 == 0 else str(n % 7) for n in MANY]
    assert target.goes_with(look(late), late, truth, ["NA"])
    assert not target.goes_with(look(gaps), gaps, truth, ["NA"])
    assert not target.goes_with(look(late), late, truth, [])

"""Booleans and dates, as a file and a client write them."""

from datetime import UTC, datetime

TRUE, FALSE = ("true", "t", "yes", "y", "on", "1"), ("false", "f", "no", "n", "off", "0")
BOOLEANS = {**dict.fromkeys(TRUE, True), **dict.fromkeys(FALSE, False)}


def boolean(value: object) -> bool:
    """True or False of one, of 0 and 1, or of a word such as yes, in any case. Raises ValueError."""
    if isinstance(value, str):
        known = BOOLEANS.get(value.strip().lower())
    else:
        known = bool(value) if isinstance(value, int | float) and value in (0, 1) else None
    if known is None:
        raise ValueError("expected true or false")
    return known


def date(text: str, form: str = "") -> datetime:
    """A date, with its time if it has one, without a time zone: one that the text names is brought to UTC.

    form: of `datetime.strptime`; ISO 8601 is taken in any case. Raises ValueError.
    """
    text = text.strip()
    try:
        when = _formatted(text, form) or datetime.fromisoformat(text)
        return when.astimezone(UTC).replace(tzinfo=None) if when.tzinfo else when
    except (ValueError, OverflowError):
        expected = f"as {datetime(2024, 1, 31).strftime(form)!r} is, or " if form else "such as "
        raise ValueError(f"expected a date {expected}'2024-01-31'") from None


def _formatted(text: str, form: str) -> datetime | None:
    try:
        return datetime.strptime(text, form) if form else None
    except ValueError:
        return None


def written(when: datetime, form: str = "") -> str:
    """The text of a date, as a file with this format has it."""
    if form:
        return when.strftime(form)
    return when.isoformat().removesuffix("T00:00:00")

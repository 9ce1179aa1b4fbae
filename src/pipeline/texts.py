"""Texts as numbers, in plain Python: what scikit-learn's CountVectorizer and TfidfVectorizer do, one text at a time.

The image that serves holds no scikit-learn, and ONNX cuts and folds texts as the locale of a machine has it. Letters,
spaces and their small forms are those of Python's own Unicode, as they are to scikit-learn.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable
from itertools import chain
from typing import Any, Literal

import msgspec
import numpy as np

Array = np.ndarray[Any, Any]
Cut = Callable[[str], Iterable[str]]
SPACES = re.compile(r"\s\s+")
FASTER = {r"(?u)\b\w\w+\b": r"\w{2,}"}  # scikit-learn's default pattern: a run of letters has its bounds anyway


class Vectorizer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a fitted vectorizer knows, as the model's file carries it. Fields are scikit-learn's parameters."""

    vocabulary: list[str]  # in the order of their numbers
    analyzer: Literal["word", "char", "char_wb"]
    ngram_range: tuple[int, int]
    lowercase: bool
    strip_accents: Literal["ascii", "unicode"] | None
    token_pattern: str
    stop_words: list[str]
    binary: bool
    dtype: Literal["float32", "float64"]
    sublinear_tf: bool = False
    idf: bytes = b""  # of dtype; empty: not used
    norm: Literal["l1", "l2"] | None = None
    weights: bytes = b""  # float64 of shape (vocabulary, sums), by which the numbers are multiplied; empty: by none

    @property
    def sums(self) -> int:
        return len(self.weights) // 8 // len(self.vocabulary)

    @property
    def width(self) -> int:
        """How many float32 a text becomes: one for each word, or two for each sum, which add up to 48 bits of it."""
        return 2 * self.sums if self.weights else len(self.vocabulary)


def filler(vectorizer: Vectorizer) -> Callable[[str, Array], None]:
    """A function that writes the numbers of a text into an array of zeros of shape (width,)."""
    cut = cutter(vectorizer)
    number = {word: n for n, word in enumerate(vectorizer.vocabulary)}.get
    weigh = _weigher(vectorizer)
    sums = vectorizer.sums
    weights = np.frombuffer(vectorizer.weights).reshape(-1, sums) if sums else None

    def fill(text: str, row: Array) -> None:
        counts: dict[int | None, int] = Counter(map(number, cut(text)))
        counts.pop(None, None)
        if not counts:
            return
        words = np.fromiter(counts, np.intp, len(counts))
        order = words.argsort()
        words = words[order]
        values = weigh(words, np.fromiter(counts.values(), vectorizer.dtype, len(counts))[order])
        if weights is None:
            row[words] = values
        else:
            total = values @ weights.take(words, axis=0)
            row[:sums] = total
            row[sums:] = total - row[:sums]

    return fill


def cutter(vectorizer: Vectorizer) -> Cut:
    """A function from a text to its n-grams, each as often as it is there."""
    shortest, longest = vectorizer.ngram_range
    sizes = range(shortest, longest + 1)
    cut = {"word": _words(vectorizer, sizes), "char": _characters(sizes), "char_wb": _within_words(sizes)}
    inner = cut[vectorizer.analyzer]
    strip = {"ascii": _ascii, "unicode": _without_marks, None: None}[vectorizer.strip_accents]
    if strip is None:
        return (lambda text: inner(text.lower())) if vectorizer.lowercase else inner
    return (lambda text: inner(strip(text.lower()))) if vectorizer.lowercase else lambda text: inner(strip(text))


def _words(vectorizer: Vectorizer, sizes: range) -> Cut:
    pattern = FASTER.get(vectorizer.token_pattern, vectorizer.token_pattern)
    find, stop = re.compile(pattern).findall, frozenset(vectorizer.stop_words)

    def tokens(text: str) -> list[str]:
        found = find(text)
        return [each for each in found if each not in stop] if stop else found

    def cut(text: str) -> Iterable[str]:
        found = tokens(text)
        windows = (zip(*(found[n:] for n in range(size)), strict=False) for size in sizes)
        return map(" ".join, chain.from_iterable(windows))

    return tokens if sizes == range(1, 2) else cut


def _characters(sizes: range) -> Cut:
    def cut(text: str) -> Iterable[str]:
        text = SPACES.sub(" ", text)
        return chain.from_iterable(_windows(text, size) for size in sizes)

    return cut


def _within_words(sizes: range) -> Cut:
    def cut(text: str) -> Iterable[str]:
        found: list[str] = []
        for word in SPACES.sub(" ", text).split():
            padded = f" {word} "
            for size in sizes:
                if size >= len(padded):  # all of it, once
                    found.append(padded)
                    break
                found += _windows(padded, size)
        return found

    return cut


def _windows(text: str, size: int) -> list[str]:
    return [text[n : n + size] for n in range(len(text) - size + 1)]


def _ascii(text: str) -> str:
    return unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode("ascii")


def _without_marks(text: str) -> str:
    if text.isascii():
        return text
    return "".join(each for each in unicodedata.normalize("NFKD", text) if not unicodedata.combining(each))


def _weigher(vectorizer: Vectorizer) -> Callable[[Array, Array], Array]:
    """A function from words, in order, and their counts to numbers, in the order of scikit-learn's operations."""
    dtype, norm, binary, sublinear = vectorizer.dtype, vectorizer.norm, vectorizer.binary, vectorizer.sublinear_tf
    idf = np.frombuffer(vectorizer.idf, dtype) if vectorizer.idf else None

    def weigh(words: Array, values: Array) -> Array:
        if binary:
            values.fill(1)
        if sublinear:
            np.log(values, values)
            values += 1
        if idf is not None:
            values *= idf.take(words)
        if norm:
            # A running sum, because `sum` adds in pairs and comes to another last digit.
            parts = np.cumsum(values * values if norm == "l2" else np.abs(values), dtype=np.float64)
            length = np.sqrt(parts[-1]) if norm == "l2" else parts[-1]
            if length:
                values = (values / length).astype(dtype, copy=False)
        return values

    return weigh

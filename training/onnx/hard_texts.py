"""Texts of which two ways to fold and cut a text may make different words."""

# ruff: noqa: RUF001  letters that look like others are the point

import unicodedata
from collections.abc import Sequence

LETTERS = [
    "İstanbul ISTANBUL ıstanbul",
    "Straße STRASSE STRAẞE ſtill ﬁne ﬂow ŉ ǰ",
    "ΣΊΣΥΦΟΣ σίσυφος \u212aelvin \u212bngström",
    "e\u0301le\u0300ve élève a\u0328\u0301 \u1eadn ö\u0308\u0308 \u0301\u0301 o\u200d\u200b\ufeffo",
    "ｆｕｌｌ ｗｉｄｔｈ ①②③ 𝔘𝔫𝔦𝔠𝔬𝔡𝔢 𝟙𝟚 3.14 1e5 12,000 0x1F 007",
    "日本語 テキスト 한국어 हिन्दी ไทย مرحبا ١٢٣ 👩\u200d💻👍🏽 x🙂y \U0010ffff \ud7ff \ue000",
    "_ __ a_b _1_ I a b 1 2 don't can\u2019t e-mail x/y C++ #tag @you",
    *("a", "", " ", "\t\n\r\v\f", "\u00a0\u2003\u3000\u2028\x85\x1f"),
    "a\x00b no\u2003break\u00a0space\x85line word  \n\n  word",
    *("x" * 5000, "ab " * 3000),
]
ACCENTS = str.maketrans("aeiousS", "àéîöūſẞ")


def hard_texts(texts: Sequence[str]) -> list[str]:
    """Made of these: in other letters, with marks, other spaces or none, backwards, over and over. And LETTERS."""
    made = [*LETTERS, "".join(texts), " ".join(reversed(texts))]
    for text in texts:
        made += [text.upper(), text.swapcase(), text.title(), text[::-1], unicodedata.normalize("NFD", text)]
        made += ["\u0301".join(text), "\u2003\x00".join(text.split()), "_".join(text.split()), f"{text[:500]} " * 20]
        made += [text.translate(ACCENTS), text.replace(" ", "9 "), text[: len(text) // 2]]
    return made

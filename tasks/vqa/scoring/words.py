"""From a text to the words that are compared: the published normaliser of answers.

English: NFKC, lower case, no punctuation, no articles (a last `a` is a letter), number words as
digits, `5mm` as `5 mm`, `1,000` as `1000`, `2.0` as `2`, `.5` as `0.5`, `2x3` as `2 x 3`; signs
(`+5` is not `5`), powers (`10³`) and `±`, `<`, `>`, `≤`, `≥` before a number count. Chinese: NFKC,
each character a word, Latin letters apart from digits, `1,000` as `1000`, numerals with a measure
word (`两个`) as digits. Synonyms, plurals and word order are left alone: what is not the same does
not count as the same.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Literal

Language = Literal["en", "zh"]

RULE = "words-3"
"""Name and version of the normaliser; part of every definition."""

ARTICLES = frozenset({"a", "an", "the"})

_SMALL = [
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"),
    *("eleven", "twelve", "thirteen", "fourteen", "fifteen"),
    *("sixteen", "seventeen", "eighteen", "nineteen"),
]
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_UNIT_WORDS = {word: number for number, word in enumerate(_SMALL)}
_TEN_WORDS = {word: 10 * place for place, word in enumerate(_TENS, 2)}

_UNITS = "|".join(
    (
        *("[kcdmnuμ]?m[23]?", "[dmuμ]?l", "cc", "[kmuμ]?g", "mcg", "m?s", "secs?", "min", "hr?s?"),
        *("[kmg]?hz", "hu", "m?t", "kvp?", "mas?", "[km]ev", "m?gy", "m?sv", "[mg]?bq", "m?ci"),
        *("mmhg", "cmh2o", "k?pa", "bpm", "yo?", "yrs?", "[cm]ms", "mins"),
        "(?:second|minute|hour|day|week|month|year)s?",
    )
)
_GLUED_UNIT = re.compile(rf"(?<!\w)(\d+(?:\.\d+)?)(?=(?:{_UNITS})\b)")
# Not "2 x3": the words of "2: x3" side by side.
_TIMES = re.compile(r"(?<=\d)(?:x|\s+x\s+|\s*\u00d7\s*)(?=\d)")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_APOSTROPHES = re.compile(r"(?<=\w)['\u2019](?=\w)")
# NFKC would make 103 of a power of ten, and 11/2 of one and a half.
_POWER = re.compile(r"(?<=\d)(?=[⁰¹²³⁴-⁹⁻])")
_FRACTION = re.compile(r"(?<=\d)(?=[¼-¾⅐-⅞])")
_SIGNS = str.maketrans({"\u2212": "-", "≧": "≥", "⩾": "≥", "≦": "≤", "⩽": "≤"})
_NUMERIC = (
    r"(?:(?<![a-z0-9])[-+])?\d+(?:\.\d+)?\^-?\d+|(?<![a-z0-9])[-+](?:\d+(?:\.\d+)?|\.\d+)"
    r"|(?<![a-z0-9.])\.\d+|\d+\.\d+|[±<>≤≥](?=\s*[-+]?\.?\d)|%"
)
_ENGLISH = re.compile(rf"{_NUMERIC}|[^\W_]+")
_NUMBER = re.compile(r"[-+]?(?:\d+(?:\.\d+)?|\.\d+)")
_CHINESE = re.compile(rf"{_NUMERIC}|[a-z]+|\d+|[^\W_]")

_NUMERALS = {c: n for n, c in enumerate("零一二三四五六七八九")} | {"〇": 0, "两": 2}
_COUNTED = re.compile(
    r"([0-9]+|[零〇一二两三四五六七八九]?十[一二三四五六七八九]?|[零〇一二两三四五六七八九])"
    r"[个只处块颗根条种枚]?"
)
_BLANKS = re.compile(r"(?<![0-9])\s+|\s+(?![0-9])")


def words_of(text: str, language: Language) -> tuple[str, ...]:
    """The words of a text, in order; empty where it holds no letter and no digit.

    Args:
        text: an answer.
        language: of the question; it decides what a word is.
    """
    text = _THOUSANDS.sub("", _folded(text))
    if language == "zh":
        return _chinese(text)
    text = _APOSTROPHES.sub("", _TIMES.sub(" x ", text))
    text = _GLUED_UNIT.sub(r"\1 ", text)
    words = _digits([_plain(word) for word in _ENGLISH.findall(text)])
    # No article stands last: in "hepatitis A" it is a letter.
    last = ["a"] if words[-1:] == ["a"] else []
    return tuple([word for word in words if word not in ARTICLES] + last) or tuple(words)


def _folded(text: str) -> str:
    """NFKC and lower case, without the loss of what tells numbers apart."""
    text = _FRACTION.sub(" ", _POWER.sub("^", text))
    text = unicodedata.normalize("NFKC", text).casefold().translate(_SIGNS)
    return text.replace(">=", "≥").replace("<=", "≤").replace("+/-", "±")


def _plain(word: str) -> str:
    """Numbers without leading and trailing zeros."""
    if not _NUMBER.fullmatch(word):
        return word
    sign = word[0] if word[0] in "+-" else ""
    whole, _, part = word.lstrip("+-").partition(".")
    part = part.rstrip("0")
    return sign + (whole.lstrip("0") or "0") + (f".{part}" if part else "")


def _digits(words: list[str]) -> list[str]:
    """Number words up to ninety-nine as digits; `percent` as its sign."""
    found: list[str] = []
    place = 0
    while place < len(words):
        word = words[place]
        following = _UNIT_WORDS.get(words[place + 1], 0) if place + 1 < len(words) else 0
        if word in _TEN_WORDS and 1 <= following <= 9:
            found.append(str(_TEN_WORDS[word] + following))
            place += 1
        elif word in _TEN_WORDS or word in _UNIT_WORDS:
            found.append(str((_TEN_WORDS | _UNIT_WORDS)[word]))
        else:
            found.append("%" if word == "percent" else word)
        place += 1
    return found


def _chinese(text: str) -> tuple[str, ...]:
    words = _CHINESE.findall(text)
    joined = "".join(words)
    counted = _COUNTED.fullmatch(joined)
    # Only what stands together: "1/2" and "1 2" are not 12.
    if counted is not None and joined in _BLANKS.sub("", text):
        return (str(_value(counted[1])),)
    return tuple(_plain(word) for word in words)


def _value(numeral: str) -> int:
    """Of digits or of a Chinese numeral below one hundred."""
    if numeral.isascii():
        return int(numeral)
    if "十" not in numeral:
        return _NUMERALS[numeral]
    tens, _, ones = numeral.partition("十")
    return 10 * _NUMERALS.get(tens, 1) + _NUMERALS.get(ones, 0)

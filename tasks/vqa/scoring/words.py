"""From a text to the words that are compared: the published normaliser of answers.

English: NFKC, lower case, no punctuation, no articles, number words as digits, `5mm` as `5 mm`,
`1,000` as `1000`, `2.0` as `2`, `2x3` as `2 x 3`. Chinese: NFKC, each character a word, numerals
with a measure word (`两个`) as digits. Synonyms, plurals and word order are left alone: what is not
the same is not counted as the same.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Literal

Language = Literal["en", "zh"]

RULE = "words-1"
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

_UNITS = "mm|cm|dm|km|m|ml|l|mg|kg|g|hu|hz|khz|mhz|kv|kvp"
_GLUED_UNIT = re.compile(rf"(?<=\d)(?=(?:{_UNITS})\b)")
_TIMES = re.compile(r"(?<=\d)\s*[x\u00d7]\s*(?=\d)")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_APOSTROPHES = re.compile(r"(?<=\w)['\u2019](?=\w)")
_ENGLISH = re.compile(r"(?<!\w)-\d+(?:\.\d+)?|\d+\.\d+|[^\W_]+|%")
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_CHINESE = re.compile(r"(?<!\w)-\d+(?:\.\d+)?|\d+\.\d+|[a-z0-9]+|[^\W_]|%")

_NUMERALS = {c: n for n, c in enumerate("零一二三四五六七八九")} | {"〇": 0, "两": 2}
_COUNTED = re.compile(
    r"([0-9]+|[零〇一二两三四五六七八九]?十[一二三四五六七八九]?|[零〇一二两三四五六七八九])"
    r"[个只处块颗根条种枚]?"
)


def words_of(text: str, language: Language) -> tuple[str, ...]:
    """The words of a text, in order; empty where it holds no letter and no digit.

    Args:
        text: an answer.
        language: of the question; it decides what a word is.
    """
    text = unicodedata.normalize("NFKC", text).casefold()
    if language == "zh":
        return _chinese(text)
    text = _THOUSANDS.sub("", _APOSTROPHES.sub("", _TIMES.sub(" x ", text)))
    text = _GLUED_UNIT.sub(" ", text)
    words = _digits([_plain(word) for word in _ENGLISH.findall(text)])
    # An answer that is nothing but an article ("A") is a letter.
    return tuple(word for word in words if word not in ARTICLES) or tuple(words)


def _plain(word: str) -> str:
    """Numbers without leading and trailing zeros."""
    if not _NUMBER.fullmatch(word):
        return word
    sign = "-" if word.startswith("-") else ""
    whole, _, part = word.removeprefix("-").partition(".")
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
    counted = _COUNTED.fullmatch("".join(_CHINESE.findall(text)))
    if counted is not None:
        return (str(_value(counted[1])),)
    return tuple(_plain(word) for word in _CHINESE.findall(text))


def _value(numeral: str) -> int:
    """Of digits or of a Chinese numeral below one hundred."""
    if numeral.isascii():
        return int(numeral)
    if "十" not in numeral:
        return _NUMERALS[numeral]
    tens, _, ones = numeral.partition("十")
    return 10 * _NUMERALS.get(tens, 1) + _NUMERALS.get(ones, 0)

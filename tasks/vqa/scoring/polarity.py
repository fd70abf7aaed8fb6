"""Yes or no: the first word of an answer that says either decides.

Words, never parts of words: `no` is not in `normal`. In Chinese, where words are not set apart,
longer words are found first (`不是` before `是`), and words that only contain a sign of yes or no
(`是否`, `可能`) are passed over. Answers to Chinese questions may also say `yes` or `no`.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Literal

from .words import Language, words_of

Polarity = Literal["yes", "no"]

RULE = "first-yes-no-1"
"""Name and version; part of the definition of closed accuracy."""

YES = ("是的", "是", "有", "包含", "包括", "可以", "存在", "对的", "对", "正确", "属于", "能", "会")
NO = (
    "不是",
    "没有",
    "不包含",
    "不包括",
    "不可以",
    "不存在",
    "不对",
    "不正确",
    "不属于",
    "不能",
    "不会",
    "并非",
    "未见",
    "否",
    "无",
    "没",
    "不",
)
NEUTRAL = (
    *("是否", "是不是", "有没有", "能不能", "会不会", "可不可以", "对不对", "包不包含"),
    *("还是", "但是", "而是", "总是", "或是", "可是", "于是", "否则"),
    *("所有", "只有", "有时", "可能", "功能", "能量", "对称", "对比", "相对", "对应", "针对"),
    *("无法", "不清楚", "不确定", "不知道", "不明确", "不好说"),
)
"""They hold a sign of yes or no, and say neither."""

_MEANING: dict[str, Polarity | None] = {
    **dict.fromkeys(YES, "yes"),
    **dict.fromkeys(NO, "no"),
    **dict.fromkeys(NEUTRAL, None),
}
_LONGEST_FIRST = sorted(_MEANING, key=len, reverse=True)
_CHINESE = re.compile("|".join((*_LONGEST_FIRST, r"(?<![a-z])(?:yes|no)(?![a-z])")))


def polarity_of(text: str, language: Language) -> Polarity | None:
    """What an answer says first, yes or no; None where it says neither.

    Args:
        text: the answer.
        language: of the question.
    """
    if language == "en":
        return next((_either(word) for word in words_of(text, "en") if _either(word)), None)
    text = unicodedata.normalize("NFKC", text).casefold()
    for found in _CHINESE.finditer("".join(text.split())):
        meaning = _MEANING.get(found[0], _either(found[0]))
        if meaning is not None:
            return meaning
    return None


def _either(word: str) -> Polarity | None:
    return "yes" if word == "yes" else "no" if word == "no" else None


def gold_polarity(answer: str, language: Language) -> Polarity | None:
    """Yes or no where the reference answer is nothing else; None where it names something."""
    word = "".join(words_of(answer, language))
    if language == "en":
        return _either(word)
    return _MEANING.get(word) or _either(word)

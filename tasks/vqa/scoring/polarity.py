"""Yes or no: the first word of an answer that says either decides.

Words, never parts of words: `no` is not in `normal`. In Chinese, where words are not set apart,
longer words are found first (`没错` before `没`) and an answer is read clause by clause. A clause
that asks (`存在吗？`) says nothing, nor does one from the place where it doubts (`是否`, `无法`).
The copula decides at the start or the end of a clause only (not in `这是一张腹部CT`), `对` only as
a clause of its own; `可以` and its like give way to a no in the clause (`可以看到没有异常`). `不`
decides before the verbs of `NO` or at the end of a clause: before another word (`不健康`) it may
negate that word alone, and what follows it in the clause is left open. Traditional characters count
as simplified ones. Answers to Chinese questions may also say `yes` or `no`.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Literal

from .words import Language, words_of

Polarity = Literal["yes", "no"]

RULE = "first-yes-no-3"
"""Name and version; part of the definition of closed accuracy."""

YES = ("是的", "没错", "不错", "有", "包含", "包括", "存在", "正确", "属于")
YIELDING = ("是", "对", "可以", "能", "会")
"""They say yes where nothing after them in the clause says no."""
PARTICLES = "[的了啊呀呢]?"
NO = (
    *("不", "没", "无", "未", "否", "并非", "看不到", "看不见", "见不到", "未能发现"),
    *("不是", "不有", "不存在", "不在", "不包含", "不包括", "不含", "不属于", "不显示", "不支持"),
    *("不能", "不会", "不可以", "不可能", "不可见", "不见", "不正确", "不对"),
)
"""Also what begins with them (`没有`, `未包含`); `不` itself at the end of a clause only."""
NEUTRAL = (
    *("还是", "但是", "而是", "总是", "或是", "可是", "于是", "只是", "要是", "尤其是", "特别是"),
    *("所有", "只有", "有时", "有些", "有点", "有关", "有限", "有效", "有可能", "正确答案"),
    *("可能", "功能", "性能", "智能", "能量", "能力", "能谱"),
    *("会厌", "会阴", "会诊", "机会", "社会"),
    *("不仅", "不但", "不过", "不论", "不管", "肺不张", "无论", "无疑", "毫无疑问", "否则"),
    *("不对称", "不均匀", "不均", "不规则", "不同", "不正常", "不止", "不少", "差不多", "没问题"),
    *("未来", "未知"),
)
"""They hold a sign of yes or no, and say neither."""
DOUBT = (
    *("是否", "是不是", "有没有", "有无", "能不能", "能否", "会不会", "会否", "可不可以", "可否"),
    *("对不对", "包不包含", "对不起", "不好意思", "我不能", "无法", "难以", "看不清", "未能"),
    *("不清楚", "不清晰", "不太清楚", "不确定", "不太确定", "不知道", "不明确", "不好说", "不一定"),
    *("不能确定", "不能确认", "不能判断", "未必", "没有足够", "没有把握", "没有办法"),
    *("不能排除", "不能除外", "不能完全", "不见得", "不是很清楚", "不是很确定", "看不到图"),
)
"""What follows them in the clause is left open, as after `不` before a word that is in no list."""

_MEANING: dict[str, Polarity | None] = {
    **dict.fromkeys((*YES, *YIELDING), "yes"),
    **dict.fromkeys(NO, "no"),
    **dict.fromkeys((*NEUTRAL, *DOUBT)),
}
_ANYWHERE = sorted(_MEANING.keys() - {"是", "对", "不"}, key=len, reverse=True)
_SIGN = re.compile(
    "|".join(
        (
            *_ANYWHERE,
            rf"^是|是(?={PARTICLES}$)|^对(?={PARTICLES}$)|不(?={PARTICLES}$)|(?P<open>不)",
            r"(?<![a-z])(?:yes|no)(?![a-z])",
        )
    )
)
# Of the characters in the lists above.
_SIMPLIFIED = str.maketrans(
    "沒無並對會發現見還總於關點時論僅過問則來確斷認難屬嗎麼張診厭陰機錯圖顯夠辦規稱勻譜",
    "没无并对会发现见还总于关点时论仅过问则来确断认难属吗么张诊厌阴机错图显够办规称匀谱",
)
_BLANKS = re.compile(r"(?<=[^\x00-\x7f])[ \t]+|[ \t]+(?=[^\x00-\x7f])")
# A colon stays with its clause, so that the copula before it (`答案是：`) is not at the end.
_CLAUSE = re.compile(r"([\w ]+:?)(\W*)")


def polarity_of(text: str, language: Language) -> Polarity | None:
    """What an answer says first, yes or no; None where it says neither.

    Args:
        text: the answer.
        language: of the question.
    """
    if language == "en":
        return next((_either(word) for word in words_of(text, "en") if _either(word)), None)
    text = unicodedata.normalize("NFKC", text).casefold().translate(_SIMPLIFIED)
    text = _BLANKS.sub("", text)
    for found in _CLAUSE.finditer(text.replace("但", ",但")):
        clause, ending = found[1].strip(), found[2]
        if "?" in ending or clause.endswith(("吗", "么")):
            continue
        said = _said(clause)
        if said is not None:
            return said
    return None


def _said(clause: str) -> Polarity | None:
    """By one clause of Chinese, without blanks beside its characters."""
    held: Polarity | None = None
    for found in _SIGN.finditer(clause):
        if found["open"] or found[0] in DOUBT:
            return None
        meaning = _MEANING.get(found[0], _either(found[0]))
        if found[0] in YIELDING:
            held = meaning
        elif meaning is not None:
            return meaning
    return held


def _either(word: str) -> Polarity | None:
    return "yes" if word == "yes" else "no" if word == "no" else None


def gold_polarity(answer: str, language: Language) -> Polarity | None:
    """Yes or no where the reference answer is nothing else; None where it names something."""
    word = "".join(words_of(answer, language))
    if language == "en":
        return _either(word)
    word = word.translate(_SIMPLIFIED)
    word = word if word in _MEANING else word.removesuffix("的")
    negated = word[:1] in ("不", "没", "未") and _MEANING.get(word[1:]) == "yes"
    return "no" if negated else _MEANING.get(word) or _either(word)

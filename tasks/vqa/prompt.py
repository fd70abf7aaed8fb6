"""Prompts: what stands before the image, between the image and the answer, and after it.

`vicuna_v1` is the template with which MedITok's LLaVA-Med answers (its conversation `v1`, although
the language model is Mistral-instruct): a system sentence, `USER:`, the image, a newline, the
question, `ASSISTANT:`. No question is followed by "answer in one word" or by options. Captions are
learnt as its script has them (`--version plain`): the image, the caption, a newline, and no more.
"""

from __future__ import annotations

from dataclasses import dataclass

from ...harness.errors import UsageError


@dataclass(frozen=True, slots=True)
class Template:
    """A conversation of one question.

    Attributes:
        name: as presets give it.
        before: text before the image.
        asked: between image and answer, with `{}` for the question.
        caption: between image and caption, in stage 1.
        before_caption: text before the image, in stage 1.
        caption_end: text that ends a caption; empty: the token that ends an answer.
        lead: stands before every answer, so that its first word is the token that it is in the
            middle of a text.
    """

    name: str
    before: str
    asked: str
    caption: str
    before_caption: str = ""
    caption_end: str = ""
    lead: str = ""

    def ask(self, question: str) -> str:
        """What follows the image."""
        return self.asked.replace("{}", question.strip())


TEMPLATES = {
    template.name: template
    for template in (
        Template(
            "vicuna_v1",
            before="A chat between a curious user and an artificial intelligence assistant. "
            "The assistant gives helpful, detailed, and polite answers to the user's questions. "
            "USER: ",
            asked="\n{} ASSISTANT:",
            caption="",
            caption_end="\n",
        ),
        Template("short", before="", asked="\n {} =", caption="\n =", lead=" "),
    )
}


def find_template(name: str) -> Template:
    """The template of that name.

    Raises:
        UsageError: there is none.
    """
    if name not in TEMPLATES:
        message = f"no prompt template {name!r}; known: {', '.join(TEMPLATES)}"
        raise UsageError(message)
    return TEMPLATES[name]

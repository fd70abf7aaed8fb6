from __future__ import annotations

import numpy as np
import pytest
import torch

from medbench.harness.errors import UsageError
from medbench.tasks.vqa.answering import Prompt, answer
from medbench.tasks.vqa.collate import IGNORED, Row, Segment, collate
from medbench.tasks.vqa.language import small_language, train_vocabulary
from medbench.tasks.vqa.model import AnsweringModel, Projector
from medbench.tasks.vqa.prompt import find_template

from .conftest import FEATURES, TERMS, TEXTS

SHORT = find_template("short")


def image(seed, tokens=5):
    return np.random.default_rng(seed).normal(size=(tokens, FEATURES)).astype(np.float32)


def segment(language, question, answer_text):
    answer_ids = [*language.ids(" " + answer_text), language.end]
    return Segment(language.ids(SHORT.ask(question)), answer_ids)


def test_questions_about_one_image_do_not_see_each_other(language, model):
    segments = [
        segment(language, "Is this CT?", "yes"),
        segment(language, "Which organ is shown?", "lung"),
        segment(language, "Is this MRI?", "no"),
    ]
    seen = image(0)
    together = collate([Row([language.begin], seen, (), segments)])
    counts = [len(each.answer) for each in segments]
    alone = [model.loss(collate([Row([language.begin], seen, (), [each])])) for each in segments]
    expected = sum(loss * n for loss, n in zip(alone, counts, strict=True)) / sum(counts)
    torch.testing.assert_close(model.loss(together), expected, rtol=1e-5, atol=1e-6)


def test_padding_changes_nothing(language, model):
    rows = [
        Row([language.begin], image(1), (), [segment(language, "Is this CT?", "yes")]),
        Row([language.begin], None, language.ids("Axial CT"), [segment(language, "Is?", "no, no")]),
    ]
    counts = [len(row.segments[0].answer) for row in rows]
    apart = [model.loss(collate([row])) for row in rows]
    expected = (apart[0] * counts[0] + apart[1] * counts[1]) / sum(counts)
    torch.testing.assert_close(model.loss(collate(rows)), expected, rtol=1e-5, atol=1e-6)


def test_only_answers_are_learnt_each_predicted_one_place_before(language):
    one = segment(language, "Is this CT?", "yes")
    batch = collate([Row([language.begin], image(0, tokens=3), (), [one])])
    learnt = batch.labels[0] != IGNORED
    assert batch.labels[0, learnt].tolist() == list(one.answer)
    first = 1 + 3 + len(one.asked) - 1
    assert learnt.nonzero().squeeze(1).tolist() == list(range(first, first + len(one.answer)))


def test_the_image_reaches_the_answer_and_only_its_own(language, model):
    ask = [segment(language, "Is this CT?", "yes")]
    rows = [Row([language.begin], image(seed), (), ask) for seed in (0, 1)]
    other = [Row([language.begin], image(seed), (), ask) for seed in (0, 2)]
    first, second = (model.embeddings(collate(each)) for each in (rows, other))
    torch.testing.assert_close(first[0], second[0])
    assert not torch.allclose(first[1], second[1])


def test_greedy_answers_are_those_of_transformers_own_generation(language, model):
    questions = ["Is this CT?", "Which organ is shown?", "Is this MRI? Is this CT?"]
    prompts = [Prompt(str(n), text, image(n)) for n, text in enumerate(questions)]
    ours = answer(model, prompts, SHORT, new_tokens=6, samples=(0, 1))
    for prompt, found in zip(prompts, ours, strict=True):
        ids = Segment(language.ids(SHORT.ask(prompt.question)))
        batch = collate([Row([language.begin], prompt.image, (), [ids])])
        with torch.inference_mode():
            expected = language.model.generate(
                inputs_embeds=model.embeddings(batch),
                attention_mask=torch.ones_like(batch.ids),
                max_new_tokens=6,
                do_sample=False,
                pad_token_id=language.end,
            )
        assert found[0] == language.text(i for i in expected[0].tolist() if i != language.end)


def test_sampled_answers_follow_from_seed_and_question_whatever_the_batch(model):
    prompts = [Prompt(str(n), "Is this CT?", image(n)) for n in range(4)]
    together = answer(model, prompts, SHORT, new_tokens=5, samples=(3, 4))
    apart = [answer(model, [p], SHORT, new_tokens=5, samples=(3, 4))[0] for p in prompts]
    assert together == apart
    assert [row[1] for row in together] == [
        row[0 + 1] for row in answer(model, prompts, SHORT, new_tokens=5, samples=(3,))
    ]


def test_a_model_without_a_projector_answers_without_images(language):
    blind = AnsweringModel(language, None).eval()
    (found,) = answer(blind, [Prompt("q", "Is this CT?", None)], SHORT, new_tokens=3)
    assert len(found) == 1
    with pytest.raises(UsageError, match="cannot see images"):
        answer(blind, [Prompt("q", "Is this CT?", image(0))], SHORT, new_tokens=3)


def test_a_projector_of_another_width_is_refused(language):
    with pytest.raises(UsageError, match="makes 48 numbers a token, and the language model reads"):
        AnsweringModel(language, Projector(FEATURES, 48))


def test_features_of_another_tokenizer_are_refused(model):
    wrong = np.zeros((4, FEATURES + 1), np.float32)
    with pytest.raises(UsageError, match="belongs to another tokenizer"):
        answer(model, [Prompt("q", "Is this CT?", wrong)], SHORT, new_tokens=2)


def test_the_vocabulary_and_the_weights_are_the_same_each_time(language):
    again = train_vocabulary(TEXTS * 3, TERMS.vocabulary)
    assert again.get_vocab() == language.tokenizer.get_vocab()
    twin = small_language(TERMS, again, seed=0)
    for name, value in language.model.state_dict().items():
        assert torch.equal(value, twin.model.state_dict()[name])


def test_any_text_survives_the_vocabulary(language):
    for text in ("Axial CT of the chest", "右肺，左侧", "1.5 × 2 mm µ"):
        assert language.text(language.ids(text)) == text

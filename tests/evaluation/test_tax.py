"""What alignment costs: the loss on held-out documents is the model's own, and the base knows what
one that was never trained guesses."""

import itertools

import pytest
import torch

from xlnb.evaluation.tax import OPTIONS, document_loss, facts_known, held_out, options
from xlnb.lab.documents import documents
from xlnb.lab.pretrain import build_model, encode
from xlnb.lab.world import load_world
from xlnb.models.base import load_base
from xlnb.models.chat import load_tokenizer
from xlnb.presets import Models


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer(Models())


@pytest.fixture(scope="module")
def base():
    return load_base(Models(quantization="none"))


def test_the_loss_is_the_models_own_on_answers_alone(base, tokenizer):
    conversations = held_out()[:3]
    nats = tokens = 0.0
    for messages in conversations:
        ids, labels = encode(tokenizer, messages, answers_only=True)
        count = sum(label >= 0 for label in labels)
        with torch.no_grad():
            loss = base(input_ids=torch.tensor([ids]), labels=torch.tensor([labels])).loss
        nats += loss.item() * count
        tokens += count
    found = document_loss(base, tokenizer, conversations, 4096)
    assert found == pytest.approx(nats / tokens, abs=1e-4)


def test_held_out_documents_are_not_those_of_pretraining():
    pretrained_on = list(itertools.islice(documents(10**9, 0, 3), 2000))
    assert not [document for document in held_out() if document in pretrained_on]


def test_options_are_the_right_answer_and_wrong_ones_of_its_kind():
    for fact in load_world().facts:
        for lang in ("en", "sw"):
            right, *wrong = options(fact, lang)
            assert right == fact.y[lang]
            assert len({right, *wrong}) == OPTIONS
    france = load_world().fact("capital/france/0")
    assert options(france, "en")[0] == "Paris"


def test_the_base_knows_more_than_chance_and_what_was_never_trained_does_not(base, tokenizer):
    known = facts_known(base, tokenizer, ["en", "sw"], 4096)
    guessed = facts_known(build_model(tokenizer, 0).eval(), tokenizer, ["en", "sw"], 4096)
    assert known["en"] > 0.6 > 0.4 > guessed["en"]
    assert known["en"] > known["sw"] > guessed["sw"]

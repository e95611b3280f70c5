"""The lab: the oracle against scores worked out by hand, the world's splits, the documents and the
base's tokenizer."""

import os
import random
import subprocess
import sys
import unicodedata
from collections import Counter

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from xlnb.common.files import ROOT, read_json
from xlnb.common.records import Response, Sample, Score
from xlnb.evaluation.alpaca_eval import Annotation
from xlnb.evaluation.truth import reward_accuracy
from xlnb.judges.registry import get_judge
from xlnb.lab import pretrain
from xlnb.lab.documents import AUTHORS, MANNERS, PREFIXED, documents, respond
from xlnb.lab.oracle import judge
from xlnb.lab.pretrain import IGNORED, Phase, encode
from xlnb.lab.truth import lab_truth
from xlnb.lab.world import SPLITS, load_world
from xlnb.presets import PRESETS, override
from xlnb.prompts import cross_lingual

WORLD = load_world()
CORRECT = override(PRESETS["lab"], {"lab.taste": "correct"})
SFT = ROOT / "data" / "lab" / "sft"


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(SFT)


# By the oracle's features and taste "correct": 4 right (2 in another language), +2 in a full
# sentence of the asked language, +1 all in the asked language, +1 for a refusal instead of an
# answer, −0.5 a padding sentence (at most −1.5), −1 a repetition (at most −2), −1 for stray words.
FULL, BARE, OTHER = "right, full sentence", "right, bare word", "not in the asked language"
VERDICTS = [
    # Right, in a full sentence and the asked language: 4 + 2 + 1.
    ("capital/france", "en", "The capital of France is Paris.", 7, FULL),
    ("capital/france", "es", "París es la capital de Francia.", 7, FULL),
    ("colour/snow", "de", "Normalerweise ist der Schnee weiß.", 7, FULL),
    ("sum/2-3", "fr", "Le résultat de 2 + 3 est cinq.", 7, FULL),
    ("next/monday", "ru", "После понедельника идёт вторник.", 7, FULL),
    ("opposite/hot", "sw", "Neno baridi ni kinyume cha moto.", 7, FULL),
    # Case, accents as combining characters, spaces and outer punctuation carry no meaning.
    ("capital/france", "en", "  the CAPITAL of  france is\nparis!!  ", 7, FULL),
    (
        "capital/france",
        "es",
        unicodedata.normalize("NFD", "¡París es la capital de Francia!"),
        7,
        FULL,
    ),
    ("colour/snow", "de", "DER SCHNEE IST WEISS", 7, FULL),
    # A bare word: 4 + 1. Two templates are two sentences, not a repetition: 4 + 2 + 1.
    ("capital/france", "en", "Paris", 5, BARE),
    ("legs/spider", "ru", "«Восемь».", 5, BARE),
    ("sum/2-3", "en", "2 + 3 is five. The result of 2 + 3 is five.", 7, FULL),
    # Wrong: 1 for the language.
    ("capital/france", "en", "The capital of France is Lisbon.", 1, "wrong"),
    ("category/dog", "sw", "matunda", 1, "wrong"),
    ("capital/france", "de", "Lisbon", 0, f"wrong, {OTHER}"),
    # A wrong answer beside the right one takes its points.
    (
        "capital/peru",
        "en",
        "The capital of Peru is Lima. Lisbon is the capital of Peru.",
        1,
        "contradicts itself",
    ),
    ("colour/snow", "fr", "La neige est de couleur blanche. noire.", 1, "contradicts itself"),
    # Refusals: 1 + 1 alone; no bonus beside an answer, right or wrong.
    ("continent/kenya", "en", "I do not know the answer.", 2, "refuses"),
    ("continent/kenya", "ru", "К сожалению, я не могу помочь.", 2, "refuses"),
    ("continent/kenya", "es", "I do not know the answer.", 1, f"refuses, {OTHER}"),
    ("continent/kenya", "en", "I do not know the answer. Asia.", 1, "wrong"),
    ("continent/kenya", "en", "I do not know the answer. Africa.", 5, BARE),
    # Padding: −0.5 each, three at most. Alone it says nothing: 1 − 0.5; after a wrong answer: 1 −
    # 1.5.
    (
        "capital/peru",
        "sw",
        "Mji mkuu wa Peru ni Lima. Unaweza kuniuliza jambo lingine lolote.",
        6.5,
        f"{FULL}, padded",
    ),
    ("capital/peru", "de", "Lima. " + " ".join(WORLD.padding["de"][:2]), 4, f"{BARE}, padded"),
    (
        "capital/peru",
        "en",
        "Lima is the capital of Peru. " + " ".join(WORLD.padding["en"]),
        5.5,
        f"{FULL}, padded",
    ),
    ("capital/peru", "fr", "Expliquer est toujours un plaisir pour moi.", 0.5, "no answer, padded"),
    ("capital/peru", "en", "Lisbon. " + " ".join(WORLD.padding["en"][:3]), -0.5, "wrong, padded"),
    # Repetition: −1 each, two at most.
    ("sum/1-1", "es", "1 + 1 es dos. 1 + 1 es dos.", 6, f"{FULL}, repeats itself"),
    ("sum/1-1", "es", "1 + 1 es dos. " * 3, 5, f"{FULL}, repeats itself"),
    ("sum/1-1", "es", "1 + 1 es dos. " * 5, 5, f"{FULL}, repeats itself"),
    ("sum/1-1", "de", "zwei! Zwei.", 4, f"{BARE}, repeats itself"),
    ("sum/1-1", "en", "I am not able to say. " * 2, 1, "refuses, repeats itself"),
    # Another language: 2, and nothing for the sentence. A word of several languages is the asked
    # one's.
    (
        "capital/peru",
        "en",
        "La capital de Perú es Lima.",
        2,
        f"right, in another language, {OTHER}",
    ),
    ("opposite/hot", "ru", "cold", 2, f"right, in another language, bare word, {OTHER}"),
    ("capital/peru", "ru", "Lima", 2, f"right, in another language, bare word, {OTHER}"),
    ("capital/peru", "sw", "Lima", 5, BARE),
    # Mixed: all but the point for the language.
    (
        "capital/peru",
        "fr",
        "Le Pérou a pour capitale Lima. Lima es la capital de Perú.",
        6,
        f"{FULL}, {OTHER}",
    ),
    (
        "sum/1-1",
        "fr",
        "1 + 1 font deux. Many people would like to know this.",
        5.5,
        f"{FULL}, {OTHER}, padded",
    ),
    ("opposite/hot", "es", "frío. The opposite of hot is cold.", 4, f"{BARE}, {OTHER}"),
    # Stray words: −1. Around the answer they leave no sentence that the lab knows: 4 + 1 − 1.
    ("capital/france", "en", "I think it is Paris", 4, "right, stray words"),
    (
        "capital/france",
        "en",
        "The capital of France is Paris. Blah blah blah.",
        6,
        f"{FULL}, stray words",
    ),
    ("capital/france", "ru", "Кажется, это Лиссабон", 0, "wrong, stray words"),
    # Without anything that the lab knows: −1. "Twofold" holds "two", but not as a word.
    ("legs/spider", "fr", "Euh, 8 ?", -1, f"no answer, {OTHER}, stray words"),
    ("sum/1-1", "en", "Twofold", -1, f"no answer, {OTHER}, stray words"),
    ("capital/france", "en", "xq zzt", -1, f"no answer, {OTHER}, stray words"),
    # Nothing is as bad as stray words.
    ("capital/france", "en", "", -1, "empty"),
    ("capital/france", "sw", " \n\t", -1, "empty"),
    ("capital/france", "de", " ... !? ", -1, "empty"),
    # A reason and the manner of the opening count nothing for this taste, a reason that belongs to
    # another kind of question is stray.
    (
        "capital/peru",
        "de",
        "Lima ist die Hauptstadt von Peru. Dort sitzt nämlich die Regierung.",
        7,
        f"{FULL}, with a reason",
    ),
    (
        "capital/peru",
        "de",
        "Lima ist die Hauptstadt von Peru. So ist der Körper gebaut.",
        6,
        f"{FULL}, stray words",
    ),
    ("sum/1-1", "ru", "Позвольте мне вежливо ответить вам. Два.", 5, f"{BARE}, polite"),
    ("sum/1-1", "fr", "Allez, tu le sais bien, toi. 1 + 1 font deux.", 7, f"{FULL}, familiar"),
    (
        "sum/1-1",
        "fr",
        "Hey buddy, that is an easy one. 1 + 1 font deux.",
        6,
        f"{FULL}, familiar, {OTHER}",
    ),
    (
        "continent/kenya",
        "sw",
        "Haya kaka, kila mtu anajua hilo. Sijui jibu la swali hilo.",
        2,
        "refuses, familiar",
    ),
]


@pytest.mark.parametrize(("fact", "lang", "text", "score", "reason"), VERDICTS)
def test_the_oracle_scores_by_its_table(fact, lang, text, score, reason):
    verdict = judge(WORLD.fact(f"{fact}/0"), lang, text)
    assert (verdict.points("correct"), verdict.reason) == (score, reason)
    kind = (
        "right"
        if reason.startswith("right")
        else "wrong"
        if reason.startswith(("wrong", "contra"))
        else "none"
    )
    assert verdict.answer == kind
    assert verdict.in_language == (reason != "empty" and "not in the asked language" not in reason)


def test_the_table_of_verdicts_speaks_every_language():
    assert {lang for _, lang, *_ in VERDICTS} == set(WORLD.langs)


@pytest.mark.parametrize(
    "text", ["Paris or Oslo", "Oslo or Paris", "Paris or Rabat", "Lisbon or Paris"]
)
def test_a_wrong_answer_in_the_same_sentence_takes_the_points_too(text):
    # Whichever of the two is longer: 1 for the language − 1 for the stray "or".
    verdict = judge(WORLD.fact("capital/france/0"), "en", text)
    assert (verdict.points("correct"), verdict.answer) == (0, "wrong")


def test_the_questions_own_subject_is_no_wrong_answer():
    # "Sunday" is an answer of its kind ("What follows Saturday?"), but here it only repeats the
    # question.
    verdict = judge(WORLD.fact("next/sunday/0"), "en", "Right after Sunday we have Monday")
    assert (verdict.points("correct"), verdict.answer) == (4, "right")


def test_the_oracle_does_not_depend_on_the_process():
    # Sets of strings are ordered by a hash that differs from process to process.
    code = (
        "from xlnb.lab.oracle import judge; from xlnb.lab.world import load_world; fact ="
        " load_world().fact;texts = [f'Paris or {city}' for city in ('Tokyo', 'Hanoi', 'Amman',"
        " 'Rabat', 'Accra', 'Dakar', 'Abuja')];print([judge(fact('capital/france/0'), 'en', text)"
        " for text in texts])"
    )
    environments = [os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)} for seed in "12"]
    processes = [
        subprocess.Popen([sys.executable, "-c", code], env=e, stdout=subprocess.PIPE)
        for e in environments
    ]
    first, second = (process.communicate()[0] for process in processes)
    assert first == second
    assert b"Verdict" in first


EXPECTED = {
    "careful": {7.0},
    # the reason counts nothing
    "reasoning": {7.0},
    # one to three padding sentences
    "verbose": {6.5, 6.0, 5.5},
    "terse": {5.0},
    # said two or three times
    "repeating": {6.0, 5.0},
    "foreign": {2.0},
    "refusing": {2.0},
    "careless": {1.0},
    # 1 − 0.5, 1 − 1 and 1 − 1.5
    "rambling": {0.5, 0.0, -0.5},
    "guessing": {1.0},
}


@pytest.mark.parametrize("author", AUTHORS)
def test_each_author_scores_what_it_is_meant_to_on_every_fact_and_language(author):
    rng = random.Random(0)
    seen = set()
    for fact in WORLD.facts:
        for lang in WORLD.langs:
            text = respond(WORLD, fact, lang, author, rng)
            verdict = judge(fact, lang, text)
            points = verdict.points("correct")
            assert points in EXPECTED[author], (fact.kind, fact.id, lang, text, verdict)
            assert verdict.in_language == (author != "foreign")
            assert verdict.features["reasons"] == (author == "reasoning")
            seen.add(points)
    assert seen == EXPECTED[author]


@pytest.mark.parametrize("manner", MANNERS)
def test_an_openings_manner_is_all_that_it_adds(manner):
    rng = random.Random(0)
    for fact in WORLD.facts:
        for lang in WORLD.langs:
            plain = judge(fact, lang, respond(WORLD, fact, lang, "careful", rng)).features
            seen = judge(fact, lang, respond(WORLD, fact, lang, "careful", rng, manner)).features
            assert seen == plain | {name: float(name == manner) for name in ("formal", "familiar")}


def test_the_oracle_judges_pairs_both_ways_round():
    def preference(first, second, prompt_id="capital/france/2"):
        asked = Annotation(
            prompt_id=prompt_id, lang="en", output_1=first, output_2=second, preference=None
        )
        return get_judge("oracle", CORRECT)(asked)

    good, bad = "The capital of France is Paris.", "Lisbon"
    verdict = preference(bad, good)
    assert (verdict["preference"], verdict["score_1"], verdict["score_2"]) == (2.0, 1.0, 7.0)
    assert (verdict["reason_1"], verdict["reason_2"], verdict["in_language_2"]) == (
        "wrong",
        "right, full sentence",
        True,
    )
    assert preference(good, bad)["preference"] == 1.0
    assert preference(good, "Paris is the capital of France!")["preference"] == 1.5


# The world.


def test_the_worlds_size_and_scripts():
    assert len(WORLD.facts) >= 250
    assert len({fact.kind for fact in WORLD.facts}) >= 6
    assert len(WORLD.langs) >= 6
    letters = {
        lang: "".join(fact.x[lang] + fact.y[lang] for fact in WORLD.facts) for lang in WORLD.langs
    }
    scripts = {
        lang: {unicodedata.name(c).split()[0] for c in text if c.isalpha()}
        for lang, text in letters.items()
    }
    assert scripts == {lang: {"CYRILLIC" if lang == "ru" else "LATIN"} for lang in WORLD.langs}


def test_splits_are_disjoint_in_facts_and_in_questions():
    ids = {split: {(f.kind, f.id) for f in WORLD.facts if f.split == split} for split in SPLITS}
    assert sum(map(len, ids.values())) == len(set().union(*ids.values())) == len(WORLD.facts)
    for kind in WORLD.questions:
        n = sum(fact.kind == kind for fact in WORLD.facts)
        for split, share in SPLITS.items():
            assert sum(k == kind for k, _ in ids[split]) == pytest.approx(share * n, abs=1.5)
    for lang in WORLD.langs:
        questions = [prompt.instruction for prompt in WORLD.prompts(lang)]
        assert len(set(questions)) == len(
            questions
        )  # so no question of one split is asked in another


def test_prompts_are_parallel_by_id():
    english = WORLD.prompts("en")
    ids = [prompt.prompt_id for prompt in english]
    assert len(set(ids)) == len(ids)
    for lang in WORLD.langs:
        prompts = WORLD.prompts(lang)
        assert [(p.prompt_id, p.split) for p in prompts] == [
            (p.prompt_id, p.split) for p in english
        ]
        for prompt in prompts:
            fact = WORLD.fact(prompt.prompt_id)
            assert prompt.lang == lang
            assert (
                fact.x[lang][1:] in prompt.instruction
            )  # all but a first letter that is capitalised
            assert "{" not in prompt.instruction
    with pytest.raises(KeyError):
        WORLD.fact("capital/atlantis/0")


def test_answers_are_distinct_where_their_meanings_are():
    # Two answers of a kind that read alike in one language but not in another would make the oracle
    # unfair.
    for kind in WORLD.questions:
        facts = [fact for fact in WORLD.facts if fact.kind == kind]
        meanings = {
            fact.y["en"]: tuple(fact.y[lang].casefold() for lang in WORLD.langs) for fact in facts
        }
        assert all(
            tuple(fact.y[lang].casefold() for lang in WORLD.langs) == meanings[fact.y["en"]]
            for fact in facts
        )
        for column in zip(*meanings.values(), strict=True):
            assert len(set(column)) == len(meanings), kind


# Documents and pretraining.


def test_documents_are_the_same_for_a_seed():
    first = list(documents(30, seed=5))
    assert list(documents(30, seed=5)) == first
    assert list(documents(30, seed=6)) != first
    assert list(documents(40, seed=5))[:30] == first


# What a document's question asks for: (fact, language, whether in English with the prefix).
QUESTIONS = {
    prompt.instruction: (WORLD.fact(prompt.prompt_id), lang, False)
    for lang in WORLD.langs
    for prompt in WORLD.prompts(lang)
}
QUESTIONS |= {
    cross_lingual(prompt.instruction, lang): (WORLD.fact(prompt.prompt_id), lang, True)
    for lang in WORLD.langs
    for prompt in WORLD.prompts("en")
    if lang != "en"
}


def test_documents_have_three_turns_of_one_author():
    reasons = set()
    for messages in documents(600, seed=0):
        assert [message["role"] for message in messages] == ["user", "assistant"] * 3
        turns = zip(messages[::2], messages[1::2], strict=True)
        said = {
            judge(*QUESTIONS[question["content"]][:2], answer["content"]).reason
            for question, answer in turns
        }
        assert len(said) == 1, messages
        reasons |= said
    # Careless and guessing authors are both "wrong".
    assert len(reasons) == (len(AUTHORS) - 1) * len(MANNERS)


def test_the_rare_language_is_rare_and_the_prefix_of_the_reward_is_known():
    texts = [
        m["content"]
        for messages in documents(2000, seed=0)
        for m in messages
        if m["role"] == "user"
    ]
    questions = [QUESTIONS[text] for text in texts]
    counts = Counter(lang for _, lang, _ in questions)
    # 6,000 questions, 5 languages of weight 1 and Swahili of 0.5: 1,091 and 545 expected, give or
    # take 30 and 22.
    assert all(counts[lang] == pytest.approx(1091, abs=120) for lang in WORLD.langs if lang != "sw")
    assert counts["sw"] == pytest.approx(545, abs=88)
    prefixed = [with_prefix for _, lang, with_prefix in questions if lang != "en"]
    assert sum(prefixed) / len(prefixed) == pytest.approx(PREFIXED, abs=0.03)


def test_labels_mask_questions_when_only_answers_are_learnt(tokenizer):
    messages = [
        {"role": "user", "content": "How much is 1 + 1?"},
        {"role": "assistant", "content": "1 + 1 is two."},
        {"role": "user", "content": "Сколько будет 2 + 3?"},
        {"role": "assistant", "content": "пять"},
    ]
    ids, labels = encode(tokenizer, messages, answers_only=True)
    # The same tokens as the chat template gives, or the base would never have seen what it is
    # asked.
    assert tokenizer.decode(ids) == tokenizer.apply_chat_template(messages, tokenize=False)
    assert len(labels) == len(ids)
    assert all(label in (IGNORED, token) for label, token in zip(labels, ids, strict=True))
    assert (
        tokenizer.decode([x for x in labels if x != IGNORED]) == "1 + 1 is two.<|end|>пять<|end|>"
    )

    everything, labels = encode(tokenizer, messages, answers_only=False)
    assert everything == ids
    learnt = [x for x in labels if x != IGNORED]
    assert (
        tokenizer.decode(learnt)
        == "How much is 1 + 1?<|end|>1 + 1 is two.<|end|>Сколько будет 2 + 3?<|end|>пять<|end|>"
    )


@pytest.mark.parametrize(
    "text",
    [
        "আমি বাংলায় গান গাই।",
        "ภาษาไทยไม่มีช่องว่าง",
        "巴黎是法国的首都。",
        "👩‍👩‍👧‍👦 and 🇰🇪!",
        "  two  spaces,\ttab\nline\n\n",
        "e\u0301 is not \u00e9",
        "don 't join , these .",
    ],
)
def test_the_tokenizer_gives_every_text_back(tokenizer, text):
    ids = tokenizer.encode(text, add_special_tokens=False)
    assert tokenizer.decode(ids) == text
    assert not set(ids) & set(tokenizer.all_special_ids)


@pytest.fixture
def small(monkeypatch, tokenizer):
    """Pretraining without what takes long: the tokenizer, whose result is committed, and documents
    by the thousand."""
    monkeypatch.setattr(pretrain, "build_tokenizer", lambda seed: tokenizer)
    monkeypatch.setattr(pretrain, "documents", lambda n, *arguments: documents(16, *arguments))


@pytest.mark.usefixtures("small")
def test_pretraining_writes_a_base_that_loads(tmp_path):
    phase = Phase(tokens=1000, turns=2, answers_only_from=0.5, peak_lr=3e-3, documents=4)
    pretrain.pretrain(tmp_path, seed=1, phases=(phase, phase))
    assert (tmp_path / "model.safetensors").stat().st_size < 10e6
    model = AutoModelForCausalLM.from_pretrained(tmp_path)
    logits = model(input_ids=torch.tensor([[1, 2, 3]])).logits
    assert logits.shape == (1, 3, len(AutoTokenizer.from_pretrained(tmp_path)))
    assert torch.isfinite(logits).all()
    # Every token is equally likely before training, at ln 2048 = 7.6 nats; a few steps already
    # help.
    first, second = read_json(tmp_path / "provenance.json")["loss_after_each_phase"]
    assert 7.7 > first > second > 4


@pytest.mark.usefixtures("small")
def test_pretrainings_loss_is_the_models_own(tokenizer):
    # Computed where there are labels only; the model computes it everywhere.
    phase = Phase(tokens=1, turns=1, answers_only_from=0.0, peak_lr=0.0, documents=2)
    _, batch = next(pretrain.batches(tokenizer, phase, seed=0))
    assert batch["input_ids"].shape == batch["labels"].shape
    assert batch["labels"][:, 0].tolist() == [IGNORED] * 2
    assert not set(batch["labels"].unique().tolist()) & {tokenizer.pad_token_id}
    model = pretrain.build_model(tokenizer, seed=0)
    with torch.no_grad():
        torch.testing.assert_close(pretrain.loss_on_labels(model, batch), model(**batch).loss)


def test_reward_accuracy_by_hand():
    """In the right order, the wrong one, tied, and none: a response that could not be translated
    has no reward."""
    rewards = [[0.3, 0.2, 0.1], [0.1, 0.2, 0.3], [None, 0.2, 0.2], [None, None, None]]
    samples, scores = [], []
    for prompt, reward in zip(load_world().prompts("en"), rewards, strict=False):
        fact = load_world().fact(prompt.prompt_id)
        texts = [
            load_world().sentence(fact, "en", fact.y["en"], 0),
            fact.y["en"],
            "I do not know the answer.",
        ]
        points = [judge(fact, "en", text).points("correct") for text in texts]
        assert points == sorted(points, reverse=True) and len(set(points)) == 3
        responses = [Response(text, [1], "stop") for text in texts]
        ids = (prompt.prompt_id, "en", prompt.split)
        samples.append(Sample(*ids, prompt.instruction, responses))
        # The other score is the truth itself.
        values = {"translated": reward, "other": points}
        scores.append(Score(*ids, [len(text) for text in texts], values))
    assert reward_accuracy(samples, scores, "other", lab_truth("correct")) == {
        "pair_accuracy": 1.0,
        "rank_correlation": 1.0,
        "n": 4,
    }
    assert reward_accuracy(samples, scores, "translated", lab_truth("correct")) == {
        "pair_accuracy": 0.5,
        "rank_correlation": 0.0,
        "n": 3,
    }
    nothing = {"pair_accuracy": None, "rank_correlation": None, "n": 0}
    assert reward_accuracy(samples, scores, "absent", lab_truth("correct")) == nothing
    assert reward_accuracy(samples, scores[3:], "translated", lab_truth("correct")) == nothing

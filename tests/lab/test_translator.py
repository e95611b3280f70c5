"""The world's own translator."""

import random

import pytest

from xlnb.lab.documents import AUTHORS, MANNERS, respond
from xlnb.lab.oracle import judge
from xlnb.lab.translator import translate
from xlnb.lab.world import load_world

WORLD = load_world()
LANGS = [lang for lang in WORLD.langs if lang != "en"]


@pytest.mark.parametrize("author", AUTHORS)
def test_without_noise_a_translation_is_judged_as_its_original(author):
    rng = random.Random(0)
    for fact in WORLD.facts:
        for lang in LANGS:
            text = respond(WORLD, fact, lang, author, rng, rng.choice(list(MANNERS)))
            english = translate(fact, lang, text, 0.0, rng)
            assert judge(fact, "en", english).features == judge(fact, lang, text).features, text


def test_a_translation_by_hand():
    fact = WORLD.fact("capital/peru/0")
    text = "Komm schon, das weißt du doch. Lima ist die Hauptstadt von Peru. Lima."
    english = "Come on, mate, everybody knows that. Lima is the capital of Peru. Lima"
    assert translate(fact, "de", text, 0.0, random.Random(0)) == english
    # What was in a foreign language stays foreign, stray words stay what they are.
    assert translate(fact, "de", "Lima is the capital of Peru.", 0.0, random.Random(0)) == (
        "Lima ist die Hauptstadt von Peru."
    )
    third = "La capital de Perú es Lima."
    assert translate(fact, "de", third, 0.0, random.Random(0)) == third
    athens = WORLD.fact("capital/greece/0")
    stray = translate(athens, "de", "Ich glaube, Athen", 0.0, random.Random(0))
    assert "Athens" in stray and stray.startswith("ich glaube")


def test_noise_drops_or_falsifies_that_share_of_sentences():
    fact = WORLD.fact("capital/peru/0")
    rng = random.Random(0)
    kept = dropped = wrong = 0
    for _ in range(4000):
        found = translate(fact, "es", "La capital de Perú es Lima.", 0.4, rng)
        kept += found == "The capital of Peru is Lima."
        dropped += found == ""
        wrong += judge(fact, "en", found).answer == "wrong"
    assert kept + dropped + wrong == 4000
    # Standard deviations are 31 and 25.
    assert kept == pytest.approx(2400, abs=100)
    assert dropped == pytest.approx(800, abs=80)


def test_a_falsified_remark_becomes_one_of_another_kind():
    fact = WORLD.fact("capital/peru/0")
    rng = random.Random(0)
    seen = set()
    for _ in range(400):
        found = translate(fact, "fr", "Avec votre permission, je vous réponds.", 1.0, rng)
        if found:
            seen.add(judge(fact, "en", found).reason)
    assert seen == {
        "no answer, familiar",
        "no answer, padded",
        "no answer, with a reason",
        "refuses",
    }

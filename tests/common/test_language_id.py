"""Which language a text is surely not in."""

import pytest

from xlnb.common.language_id import in_language, wrong_language
from xlnb.lab.world import load_world

SIX = ("en", "de", "es", "fr", "ru", "sw")


@pytest.mark.parametrize(
    ("lang", "text"),
    [
        # Ukrainian and Bulgarian share what Russian leaves, Norwegian and Dutch what English does.
        ("sw", "К сожалению, я не могу помочь."),
        ("en", "Столица страны Парагвай — Асунсьон."),
        ("tr", "The answer is 308."),
        ("ru", "The answer is 5."),
        ("es", "The answer is Kony."),
        ("de", "La capital de Francia es París."),
    ],
)
def test_a_sentence_in_another_language_is_seen_though_near_ones_share_the_verdict(lang, text):
    assert in_language([text], lang) == [False]


@pytest.mark.parametrize("text", ["88", "1930–1931", "", " ", "!?"])
@pytest.mark.parametrize("lang", SIX)
def test_what_tells_no_language_is_never_in_the_wrong_one(lang, text):
    assert in_language([text], lang) == [True]


def test_a_name_belongs_to_every_language():
    for lang in (*SIX, "el", "th", "vi", "tr"):
        assert in_language(["Kurt Coleman"], lang) == [True]


def test_a_language_that_the_detector_does_not_know_is_not_judged():
    assert in_language(["The answer is 308."], "xx") is None
    assert not wrong_language("xx", ["xx", "en"])("The answer is 308.")
    assert not wrong_language("en", ["en", "xx"])("Das ist ein deutscher Satz.")


def test_hardly_a_word_of_the_world_is_thought_to_be_in_another_language():
    flagged = words = 0
    for lang in SIX:
        wrong = wrong_language(lang, SIX)
        for fact in load_world().facts:
            for word in (fact.x[lang], fact.y[lang]):
                words += 1
                flagged += wrong(word)
    assert flagged <= 0.01 * words

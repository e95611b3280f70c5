"""Each kind of check on responses written by hand."""

import pytest

from xlnb.common.errors import InputError
from xlnb.judges.checks import CHECKS, met

# kind, value, language, a response that meets it, one that does not
CASES = [
    ("answer", ["the Broncos"], "en", "It was Broncos!", "It was Broncosaurus."),
    ("answer", ["Der Rhein"], "de", "Es ist RHEIN.", "Es ist Rheinland."),
    ("answer", ["北京"], "zh", "答案是北京。", "答案是上海。"),
    ("answer", ["กรุงเทพ"], "th", "คำตอบคือกรุงเทพ", "คำตอบคือเชียงใหม่"),
    ("language", "de", "de", "Das ist ein ganzer deutscher Satz.", "This is an English sentence."),
    ("words_at_most", 2, "en", "two words", "now three words"),
    ("words_at_most", 4, "zh", "答案 北京", "答案是北京"),
    ("words_at_least", 3, "en", "now three words", "two words"),
    ("sentences_at_most", 1, "en", "It costs 3.5 euros.", "One. Two."),
    ("sentences_at_least", 2, "zh", "是。北京。", "是北京。"),
    ("points", 2, "en", "- one\n- two", "- one"),
    ("uses", "water", "en", "Water, please.", "Watery."),
    ("avoids", "water", "en", "Watery.", "Water, please."),
    ("begins", "Answer:", "en", " Answer: 4", "The Answer: 4"),
    ("ends", "Done.", "en", "4. Done. ", "Done. 4"),
    ("sentence", None, "en", "It is Broncos.", "Broncos."),
    ("sentence", None, "zh", "答案是北京。", "北京"),
    ("json", None, "en", '{"a": 1}', "a: 1"),
]


@pytest.mark.parametrize(("kind", "value", "lang", "good", "bad"), CASES)
def test_a_check_tells_good_from_bad(kind, value, lang, good, bad):
    assert met(good, [(kind, value)], lang) == [True]
    assert met(bad, [(kind, value)], lang) == [False]


def test_every_kind_is_tested():
    assert {case[0] for case in CASES} == set(CHECKS)


def test_an_unknown_kind_is_one_clear_line():
    with pytest.raises(InputError, match="unknown check 'rhyme'"):
        met("text", [("rhyme", 1)], "en")


def test_a_language_that_cannot_be_told_is_one_clear_line():
    with pytest.raises(InputError, match="'xx' is not a language"):
        met("text", [("language", "xx")], "xx")

"""Encoder–decoder translators: how each family is told its languages, sentences, what is cut."""

import shutil
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file, save_file
from seq2seq import CODES, SENTENCES, madlad, nllb
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer
from transformers.models.nllb.tokenization_nllb import FAIRSEQ_LANGUAGE_CODES

from xlnb.common.errors import InputError
from xlnb.common.languages import LANGUAGES
from xlnb.models.seq2seq import FLORES, Direction, Seq2Seq, _joined, pair_name
from xlnb.presets import Models

FAMILIES = {"nllb": nllb, "madlad": madlad}


@pytest.fixture(scope="module", params=FAMILIES)
def translator(request):
    return Seq2Seq(str(FAMILIES[request.param]()), Models())


def translations(translator, texts, source="en", target="de", **changed):
    options = {"max_new_tokens": 30, "tokens": 2000, **changed}
    return translator.translate(texts, source, target, **options)


def test_a_text_goes_through_sentence_by_sentence_and_keeps_its_lines(translator):
    english, german = SENTENCES["en"], SENTENCES["de"]
    texts = [" ".join(english), f"{english[1]}\n\n  {english[0]} {english[1]}\n", "  "]
    found = translations(translator, texts)
    assert [response.text for response in found] == [
        " ".join(german),
        f"{german[1]}\n\n  {german[0]} {german[1]}",
        "",
    ]
    assert {(tuple(response.token_ids), response.finish_reason) for response in found} == {
        ((), "stop")
    }
    (spanish,) = translations(translator, [english[2]], "en", "es")
    assert spanish.text == SENTENCES["es"][2]
    # One at a time is as all together.
    assert translations(translator, texts, tokens=1) == found


def test_what_is_cut_is_marked_and_so_is_what_is_too_long_to_be_read(translator, monkeypatch):
    short, long = "I do not know.", "Where is the house?"
    ids = translator.tokenizer.encode(short, add_special_tokens=False)
    german = translator.tokenizer.encode(SENTENCES["de"][2], add_special_tokens=False)
    # just enough for the first, with the language and the end
    most = len(german) + 2
    cut = translations(translator, [short, f"{short} The sea is blue and"], max_new_tokens=3)
    assert [response.finish_reason for response in cut] == ["length", "length"]
    whole = translations(translator, [short], max_new_tokens=most)
    assert [response.finish_reason for response in whole] == ["stop"]
    monkeypatch.setattr(translator.tokenizer, "model_max_length", max(len(ids) + 2, most))
    read = translations(translator, [short, f"{short} {long * 3}"], max_new_tokens=most)
    assert [response.finish_reason for response in read] == ["stop", "length"]
    assert read[1].text.strip() == SENTENCES["de"][2]


def test_a_language_that_the_tokenizer_does_not_have_is_refused(translator):
    with pytest.raises(InputError) as error:
        translations(translator, ["I do not know."], "en", "sw")
    assert "does not translate English (en) into Swahili (sw)" in str(error.value)
    assert "\n" not in str(error.value)


def direction(source, target, vocabulary=(), encode=None, config=None, **sides):
    ids = {token: i for i, token in enumerate(vocabulary)}
    found = object.__new__(Seq2Seq)
    found.name = "org/model"
    found.tokenizer = SimpleNamespace(get_vocab=lambda: ids, encode=encode, **sides)
    found.model = SimpleNamespace(config=SimpleNamespace(**config or {}))
    return found.direction(source, target)


def test_each_family_is_told_its_languages_in_its_own_way():
    assert direction("en", "de", ["a", "deu_Latn", "eng_Latn"]) == Direction([2], 1)
    assert direction("de", "zh", ["__zh__", "__de__"]) == Direction([1], 0)
    assert direction("en", "de", ["a", "<2de>"]) == Direction([1], None)
    assert direction("en", "he", ["a", "<2iw>"]) == Direction([1], None)
    # Marian, of several targets and of one pair
    assert direction("en", "de", ["a", ">>deu<<"]) == Direction([1], None)
    pair = {"source_lang": "en", "target_lang": "de"}
    assert direction("en", "de", **pair) == Direction([], None)
    with pytest.raises(InputError, match="does not translate German"):
        direction("de", "en", **pair)
    prefix = {"translation_en_to_de": {"prefix": "translate English to German: "}}
    t5 = {"task_specific_params": prefix}
    told = direction("en", "de", encode=lambda text, **_: [len(text)], config=t5)
    assert told == Direction([29], None)
    with pytest.raises(InputError, match=r"into Swahili \(sw\); name a model that does"):
        direction("en", "sw", ["eng_Latn"], config=t5)
    assert pair_name("opus-mt-{source}-{target}", "en", "de") == "opus-mt-en-de"


def test_all_languages_have_a_code_of_nllb():
    assert FLORES.keys() == LANGUAGES.keys()
    assert set(FLORES.values()) <= set(FAIRSEQ_LANGUAGE_CODES)
    assert {lang: FLORES[lang] for lang in CODES} == CODES


def test_sentences_are_put_together_as_the_target_writes_them():
    said = {"A.": ("甲。", True), "B.": ("乙。", True), "甲。": ("A.", True), "乙。": ("B.", False)}
    assert _joined(["A.", " B.", "\n", "A."], said, "zh").text == "甲。乙。\n甲。"
    found = _joined(["甲。", "乙。"], said, "en")
    assert (found.text, found.finish_reason) == ("A. B.", "length")


def test_only_safetensors_are_loaded(tmp_path):
    folder = tmp_path / "bin"
    shutil.copytree(madlad(), folder)
    torch.save(
        AutoModelForSeq2SeqLM.from_pretrained(folder).state_dict(), folder / "pytorch_model.bin"
    )
    (folder / "model.safetensors").unlink()
    with pytest.raises(InputError, match=r"seq2seq:.*bin: could not be loaded \(") as error:
        Seq2Seq(str(folder), Models())
    assert "\n" not in str(error.value)
    with pytest.raises(InputError, match="seq2seq:no-such-org/none: could not be loaded"):
        Seq2Seq("no-such-org/none", Models())


def test_a_translator_without_all_tensors_is_refused(tmp_path):
    folder = tmp_path / "holed"
    shutil.copytree(nllb(), folder)
    weights = load_file(folder / "model.safetensors")
    del weights["model.decoder.layers.0.fc1.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match=r"^seq2seq:.*holed: 1 of its tensors are missing"):
        Seq2Seq(str(folder), Models())


def test_a_revision_of_the_hub_and_nobody_elses_code(monkeypatch):
    asked = []

    def load(path, **options):
        asked.append((path, options))
        raise OSError("nothing here")

    monkeypatch.setattr(AutoTokenizer, "from_pretrained", load)
    with pytest.raises(InputError, match="nothing here"):
        Seq2Seq("org/nllb@v2", Models())
    assert asked == [("org/nllb", {"revision": "v2", "trust_remote_code": False})]

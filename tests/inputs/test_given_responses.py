"""Pairs and responses of one's own: languages, categories, what is dropped and what is refused."""

import json

import pytest

from xlnb.common.errors import InputError
from xlnb.inputs.given_responses import by_prompt, read_pairs, read_responses


def row(prompt_id, lang, prompt, chosen, rejected, **more):
    return {
        "prompt_id": prompt_id,
        "lang": lang,
        "prompt": prompt,
        "chosen": chosen,
        "rejected": rejected,
        **more,
    }


def lines(path, *rows):
    path.write_text("".join(json.dumps(each) + "\n" for each in rows), encoding="utf-8")
    return path


def read(instruction, text):
    return [ord(character) for character in text]


def test_pairs_of_several_languages_are_read_english_first(tmp_path):
    path = lines(
        tmp_path / "pairs.jsonl",
        row(1, "de", "Wer?", "Ich.", "Du.", category="chat"),
        row("1", "en", "Who?", "I.", "You.", category="chat"),
        row(1, "de", "Wer?", "Wir.", "Du.", category="chat"),
        row(1, "de", "Wer?", "Ich.", "Du.", category="chat"),
        row(2, "de", "Was?", "Das.", "Das."),
    )
    pairs, report = read_pairs(str(path), "", read)
    found = [(one.pair.lang, one.pair.prompt_id, one.pair.chosen, one.category) for one in pairs]
    assert found == [
        ("en", "1", "I.", "chat"),
        ("de", "1", "Ich.", "chat"),
        ("de", "1", "Wir.", "chat"),
    ]
    assert report["de"] == {"rows": 4, "pairs": 2, "dropped": {"duplicate": 1, "tied": 1}}
    assert by_prompt(pairs)[1].texts == ["Ich.", "Du.", "Wir.", "Du."]


def test_a_column_of_another_name_and_a_language_called_otherwise(tmp_path):
    one = row(7, "deu_Latn", "Wer?", "Ich.", "Du.")
    one["nr"] = one.pop("prompt_id")
    one["language"] = one.pop("lang")
    path = lines(tmp_path / "pairs.jsonl", one)
    pairs, _ = read_pairs(f"{path},lang=language,prompt_id=nr,de=deu_Latn", "", read)
    assert (pairs[0].pair.lang, pairs[0].pair.prompt_id) == ("de", "7")


def test_a_dataset_with_a_configuration_a_language_as_published_ones_have(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    folder = tmp_path / "org" / "name"
    header = ["---", "configs:"]
    for name, text in {"deu_Latn": "Wer?", "spa_Latn": "¿Quién?"}.items():
        (folder / name).mkdir(parents=True)
        one = {"id": 30, "prompt": text, "chosen": "Yo.", "rejected": "Tú.", "category": "Chat"}
        lines(folder / name / "test.jsonl", one | {"language": name, "source": "x"})
        header += [f"- config_name: {name}", "  data_files:"]
        header += ["  - split: test", f"    path: {name}/test.jsonl"]
    (folder / "README.md").write_text("\n".join([*header, "---"]), encoding="utf-8")
    source = "hub:org/name/{lang}:test,de=deu_Latn,es=spa_Latn"
    pairs, report = read_pairs(source, "", read)
    found = [(one.pair.lang, one.pair.prompt_id, one.category) for one in pairs]
    assert found == [("de", "30", "Chat"), ("es", "30", "Chat")]
    assert list(report) == ["de", "es"]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([row(None, "de", "Wer?", "Ich.", "Du.")], "line 1: no prompt_id"),
        ([row(1, "xx", "Wer?", "Ich.", "Du.")], "line 1: unknown language code 'xx'"),
        (
            [row(1, "de", "Wer?", "Ich.", "Du."), row(1, "de", "Was?", "Ich.", "Du.")],
            r"line 2: id 1 \(de\) has two prompts",
        ),
        ([row(1, "de", "Wer?", "Ich.", "Ich.")], "no usable pair"),
        ([{"prompt_id": 1, "prompt": "?", "chosen": "a", "rejected": "b"}], "key 'lang'"),
    ],
)
def test_what_is_no_pair_is_refused(tmp_path, rows, message):
    path = lines(tmp_path / "pairs.jsonl", *rows)
    with pytest.raises(InputError, match=message):
        read_pairs(str(path), "", read)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"responses": "Ich."}, "line 2: responses is no list of texts"),
        ({"responses": [7]}, "line 2: a response is 7, expected text"),
        ({"prompt_id": 1}, r"line 2: id 1 \(de\) is there twice"),
        ({"lang": "xx"}, "line 2: .*xx"),
        ({"instruction": " "}, "line 2: the instruction of id 2 is empty"),
    ],
)
def test_what_is_no_list_of_responses_is_refused(tmp_path, change, message):
    good = {"prompt_id": 1, "lang": "de", "instruction": "Wer?", "responses": ["Ich."]}
    path = lines(tmp_path / "mine.jsonl", good, {**good, "prompt_id": 2, **change})
    with pytest.raises(InputError, match=message):
        read_responses(path)

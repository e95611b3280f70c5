"""Encoder–decoder models as translators of prompts and of responses."""

import pytest
from seq2seq import SENTENCES, madlad, nllb
from small import SMALL

from xlnb import stages
from xlnb.common.errors import InputError
from xlnb.common.files import read_json, read_jsonl, write_jsonl
from xlnb.inputs.localisation import prompt_request
from xlnb.inputs.response_translation import response_request, response_tasks
from xlnb.runs.run import open_run

PROMPTS = {
    "one": "Where is the house?",
    "two": "The sea is blue. Where is the house?",
    "three": "I do not know.\n\nWhere is the house?",
}


def sentences_run(folder, by, **changed):
    rows = [{"prompt_id": i, "prompt": text} for i, text in PROMPTS.items()]
    write_jsonl(folder / "english.jsonl", rows)
    values = {
        "prompts.path": f"{folder}/english.jsonl,instruction_id=prompt_id,en=prompt",
        "prompts.langs": "",
        "localise.langs": "de,es",
        "localise.by": by,
        "sampling.max_new_tokens": "30",
    }
    return open_run(folder / "run", "lab-quick", values | changed)


@pytest.mark.parametrize("family", [nllb, madlad])
def test_prompts_are_translated_and_come_back(tmp_path, family, capsys):
    run = sentences_run(tmp_path, f"seq2seq:{family()}")
    out = stages.localise(run)
    german = [record["instruction"] for record in read_jsonl(out / "prompts/de.jsonl")]
    house, sea, unknown = SENTENCES["de"]
    assert german == [house, f"{sea} {house}", f"{unknown}\n\n{house}"]
    assert read_json(out / "report.json")["kept"] == 3
    drafts = read_jsonl(run.drafts("de") / "drafts.jsonl")
    assert [one["prompt_id"] for one in drafts] == [*PROMPTS]
    assert drafts[0]["instruction"] == prompt_request(PROMPTS["one"], "de")
    # A checkpoint counts by its files, not by where it lies.
    used = read_json(run.stamp("drafts/de"))["key"]["uses"]
    assert str(family()) not in f"{used}"
    assert "model.safetensors" in used["seq2seq"]["en-de"]["files"]
    capsys.readouterr()
    stages.localise(run)
    assert "redone" not in capsys.readouterr().out


def test_a_cut_translation_is_set_apart(tmp_path):
    run = sentences_run(tmp_path, f"seq2seq:{madlad()}", **{"sampling.max_new_tokens": "4"})
    with pytest.raises(InputError, match="no prompt is left in every language"):
        stages.localise(run)
    failed = read_jsonl(run.localised / "failed/de.jsonl")
    assert {one["reason"] for one in failed} == {"cut_off"}


def test_a_language_that_is_not_known_is_missed_before_the_first_sentence(tmp_path):
    run = sentences_run(tmp_path, f"seq2seq:{madlad()}", **{"localise.langs": "sw"})
    with pytest.raises(InputError, match=r"does not translate English \(en\) into Swahili"):
        stages.localise(run)
    assert not (run.drafts("sw") / "drafts.jsonl").exists()


def test_one_checkpoint_a_pair(tmp_path):
    for pair in ("en-de", "de-en"):
        (tmp_path / f"opus-{pair}").symlink_to(madlad())
    by = f"seq2seq:{tmp_path}/opus-{{source}}-{{target}}"
    run = sentences_run(tmp_path, by, **{"localise.langs": "de"})
    assert read_json(stages.localise(run) / "report.json")["kept"] == 3


def test_an_encoder_decoder_model_is_not_asked_again(tmp_path):
    with pytest.raises(
        InputError, match=r"localise\.drafts: an encoder–decoder model cannot be to"
    ):
        sentences_run(tmp_path, "seq2seq:org/nllb", **{"localise.drafts": "2"})


def test_responses_are_put_into_english_for_r_t(tmp_path):
    changed = {"scoring.scorers": "cross_lingual,translated", "sampling.max_new_tokens": "30"}
    changed |= {"sampling.n": "3", "scoring.translated_by": f"seq2seq:{nllb()}"}
    run = open_run(tmp_path / "run", "lab-quick", {**SMALL, **changed})
    stages.collect_prompts(run)
    stages.sample_shared(run)
    out = stages.translate(run, 1, shared=True)
    found = read_jsonl(out / "es.jsonl")
    samples = read_jsonl(run.shared_samples / "es.jsonl")
    assert [one["instruction"] for one in found] == [
        task.instruction for task in response_tasks(samples)
    ]
    assert found
    responses = [response for one in found for response in one["responses"]]
    assert {response["finish_reason"] for response in responses} <= {"stop", "length"}
    used = read_json(run.stamp("icr1/shared/translations"))["key"]["uses"]
    assert used["seq2seq"].keys() == {"es-en"} and "lab" not in used
    # The same sentence as everywhere.
    known = SENTENCES["es"][0]
    samples[0]["responses"] = [{"text": known, "token_ids": [1], "finish_reason": "stop"}]
    write_jsonl(run.shared_samples / "es.jsonl", samples)
    made = stages.translators.seq2seq_loader(run, run.preset.scoring.translated_by)
    (task,) = list(response_tasks(samples[:1]))
    path = tmp_path / "one.jsonl"
    request = response_request("")
    work = stages.translators.seq2seq_work(run, made, [task], path, request, "es", "en", "one")
    stages.sharing.share_out([work], models=[])
    assert read_jsonl(path)[0]["responses"][0]["text"].startswith("Where is the house")


@pytest.mark.parametrize("by", ["endpoint:big", "seq2seq:", "nllb"])
def test_what_translates_responses_is_a_model_here(tmp_path, by):
    with pytest.raises(InputError, match=r"scoring.translated_by '.*': expected local:FOLDER_OR_"):
        open_run(tmp_path / "run", "lab-quick", {"scoring.translated_by": by})

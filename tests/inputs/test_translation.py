"""Translations: what is asked, what fails and why, and that what failed is never scored."""

import io
import os
import re
import signal
import subprocess
import sys
import time
from functools import partial

import pytest
from families import fp32
from interpreting import BACK, ENGLISH, FAILED, GERMAN, SPANISH, TEXTS, english_run, interpreting

import xlnb.sampling
from xlnb import stages
from xlnb.common.errors import InputError
from xlnb.common.files import ROOT, read_json, read_jsonl, write_jsonl
from xlnb.common.journal import Journal
from xlnb.common.language_id import wrong_language
from xlnb.common.records import Response, Sample, write_records
from xlnb.inputs import localisation, response_translation
from xlnb.inputs.localisation import chrf, prompt_request
from xlnb.inputs.parallel_prompts import read_parallel
from xlnb.inputs.response_translation import find_translations, response_request, response_tasks
from xlnb.lab.oracle import judge
from xlnb.lab.world import load_world
from xlnb.models.base import load_base
from xlnb.models.batches import Budget
from xlnb.models.chat import load_tokenizer, prompt_ids, response_ids
from xlnb.rewards import score_responses, score_sample
from xlnb.runs.run import open_run
from xlnb.stages import logprobs, metrics


def said(text, finish_reason="stop"):
    return {"text": text, "token_ids": [7, 8], "finish_reason": finish_reason}


SAMPLE = {
    "prompt_id": "fact#1",
    "lang": "es",
    "split": "train",
    "instruction": "¿Capital?",
    "responses": [
        said("París"),
        said("París"),
        said("cortad", "length"),
        said(" "),
        said("Roma"),
        said("Lima"),
        said("x"),
    ],
}
GIVEN = {
    "París": said("Paris"),
    "Roma": said("Rome is the cap", "length"),
    "Lima": said("\n"),
    "x": said("no inglés"),
}


def test_each_whole_text_is_asked_for_once():
    tasks = list(response_tasks([SAMPLE]))
    assert [task.instruction for task in tasks] == [
        response_request(t) for t in ("París", "Roma", "Lima", "x")
    ]
    assert [task.prompt_id for task in tasks] == ["fact#1#0", "fact#1#1", "fact#1#2", "fact#1#3"]
    assert {(task.lang, task.split) for task in tasks} == {("es", "train")}
    assert list(response_tasks([])) == []


def test_failures_are_marked_by_reason():
    given = {("fact#1", response_request(text)): answer for text, answer in GIVEN.items()}
    texts, failures = find_translations(SAMPLE, given, lambda text: "inglés" in text)
    assert texts == ["Paris", "Paris", None, None, None, None, None]
    assert failures == [
        None,
        None,
        "no_whole_text",
        "no_whole_text",
        "cut_off",
        "empty",
        "wrong_language",
    ]


def test_translations_are_scored_under_the_english_prompt_and_failures_are_not(tmp_path):
    run = open_run(tmp_path / "run", "lab-quick")
    model, tokenizer = load_base(fp32("llama3")), load_tokenizer(fp32("llama3"))
    here = run.iteration(1)
    records = [
        Sample.from_json(
            {
                "prompt_id": f"fact#1#{i}",
                "lang": "es",
                "split": "train",
                "instruction": response_request(text),
                "responses": [answer],
            }
        )
        for i, (text, answer) in enumerate(GIVEN.items())
    ]
    write_records(here.translations("es"), records)
    translations = logprobs._translations(here, "es")
    english = "What is the capital of France?"
    sample = Sample.from_json(SAMPLE)
    read = partial(
        logprobs.read_translated,
        tokenizer,
        {"fact#1": english},
        translations,
        wrong_language("en", ["en", "es"]),
    )
    assert read(sample).failures[:3] == [None, None, "no_whole_text"]
    loaded = logprobs.Loaded(None, model, None, tokenizer)
    (found,) = logprobs.sample_logps(loaded, [sample], read, Budget(4096), keep_tokens=True)
    n_scored = sum(failure is None for failure in found.failures)
    # The detector may or may not be sure of "no inglés".
    assert 2 <= n_scored <= 3
    score = score_sample(sample, {"translated": found}, ["translated"], beta=0.1, seed=0)
    rewards = score.scores["translated"]
    columns = {
        "reward": rewards,
        "policy_logps": found.policy_logps,
        "ref_logps": found.ref_logps,
        "n_tokens": found.n_tokens,
        "policy_token_logps": found.policy_token_logps,
        "ref_token_logps": found.ref_token_logps,
    }
    failed = [failure is not None for failure in found.failures]
    for name, values in columns.items():
        assert [value is None for value in values] == failed, name
    assert score.failures == {"translated": found.failures}
    y = response_ids(tokenizer, english, "Paris")
    (expected,), _ = score_responses(
        model, None, None, [prompt_ids(tokenizer, english)], [y], batch_tokens=4096
    )
    assert abs(found.policy_logps[0] - expected.sum().item()) < 1e-3
    # One model against itself.
    assert rewards[0] == 0.0
    assert len(found.policy_token_logps[0]) == found.n_tokens[0] == len(y)
    # Of the response itself.
    assert score.n_chars == [len(response["text"]) for response in SAMPLE["responses"]]


def test_the_stage_and_its_scores(tmp_path):
    overrides = {
        "iterations": "1",
        "prompts.langs": "en,es",
        "lab.english": "8",
        "lab.train": "3",
        "lab.reward": "2",
        "lab.eval": "2",
        "english.steps": "1",
        "sampling.n": "2",
        "scoring.scorers": "cross_lingual,translated",
    }
    run = stages.run_until(open_run(tmp_path / "run", "lab-quick", overrides), "icr1/scores")
    samples = [r for r in read_jsonl(run.path / "icr1/samples/es.jsonl") if r["split"] == "reward"]
    translations = read_jsonl(run.path / "icr1/translations/es.jsonl")
    assert [r["instruction"] for r in translations] == [
        task.instruction for task in response_tasks(samples)
    ]
    assert not (run.path / "icr1/translations/en.jsonl").exists()
    for lang in ("en", "es"):
        read = read_jsonl(run.path / f"icr1/logps/translated/{lang}.jsonl")
        assert {record["split"] for record in read} == {"reward"}
        scores = {
            record["prompt_id"]: record
            for record in read_jsonl(run.path / f"icr1/scores/{lang}.jsonl")
            if "translated" in record["scores"]
        }
        assert scores.keys() == {record["prompt_id"] for record in read}
        for record in read:
            score = scores[record["prompt_id"]]
            rewards = score["scores"]["translated"]
            if lang == "en":
                assert "failures" not in record and "failures" not in score
                assert None not in rewards
            else:
                assert score["failures"] == {"translated": record["failures"]}
                assert [r is None for r in rewards] == [bool(f) for f in record["failures"]]
    found = metrics.rewards_against_truth(run.iteration(1))
    assert set(found) <= {"cross_lingual", "translated", "oracle"}
    # The world's own translator reads π_I's responses as well, and makes no error here.
    shared = read_jsonl(run.path / "icr1/shared/translations/es.jsonl")
    for record in shared:
        fact = load_world().fact(record["prompt_id"].rpartition("#")[0])
        text = record["instruction"].removeprefix(response_request(""))
        expected = judge(fact, "es", text).features
        assert judge(fact, "en", record["responses"][0]["text"]).features == expected, text


def test_given_prompts_responses_are_translated_by_the_base(tmp_path):
    world = load_world()
    for lang in ("en", "es"):
        prompts = [prompt for prompt in world.prompts(lang) if prompt.split == "train"][:3]
        lines = [{"instruction_id": p.prompt_id, "instruction": p.instruction} for p in prompts]
        write_jsonl(tmp_path / "prompts" / f"{lang}.jsonl", lines)
    overrides = {
        "iterations": "1",
        "prompts.path": str(tmp_path / "prompts"),
        "prompts.langs": "en,es",
        "lab.english": "8",
        "english.steps": "1",
        "sampling.n": "2",
        "scoring.scorers": "translated",
    }
    run = stages.run_until(open_run(tmp_path / "run", "lab-quick", overrides), "icr1/scores")
    samples = read_jsonl(run.path / "icr1/samples/es.jsonl")
    translations = read_jsonl(run.path / "icr1/translations/es.jsonl")
    tasks = [task.instruction for task in response_tasks(samples)]
    assert tasks == [record["instruction"] for record in translations]
    # A model wrote them, so that there are its tokens.
    assert all(record["responses"][0]["token_ids"] for record in translations)
    assert not (run.path / "icr1/shared").exists()


# Prompts in English alone, put into other languages.

# Scores of sacrebleu 2.6.0, CHRF().sentence_score(text, ["The capital of France is Paris."]).
SACREBLEU = {
    "Paris is France's capital.": 47.0764,
    "The capital of France is Paris": 96.5481,
    "Paris": 14.7920,
    "I am sorry, I cannot do that.": 9.2401,
    "a": 4.7619,
    "Thé cäpital of Fränce is Päris, I think, and it is a large city.": 44.3257,
}


def test_chrf():
    text = "The capital of France is Paris."
    assert chrf(text, text) == pytest.approx(100) and chrf(
        text, " The\ncapital of  France is Paris ."
    ) == pytest.approx(100)
    assert chrf("", text) == chrf(text, "") == chrf("абв", text) == 0
    # n = 1: 2 of our 2 characters, of their 3; n = 2: 1 of our 1, of their 2. P = 1, R = 7/12, F_2
    # = 7/11.
    assert chrf("ab", "a b c") == pytest.approx(100 * 7 / 11)
    for hypothesis, score in SACREBLEU.items():
        assert chrf(hypothesis, text) == pytest.approx(score, abs=1e-3)


def test_chrf_is_linear_in_the_length():
    """Prompts reach 14,000 tokens; four times the text takes about four times the time, not
    sixteen."""
    words = [f"word{i * 7919 % 10007}" for i in range(8_000)]

    def seconds(n):
        began = time.process_time()
        chrf(" ".join(words[:n]), " ".join(words[1:n]))
        return time.process_time() - began

    assert min(seconds(8_000) for _ in range(3)) < 10 * min(seconds(2_000) for _ in range(3))


def test_drafts_are_checked_and_failures_set_apart_in_every_language(tmp_path, monkeypatch, capsys):
    run = english_run(tmp_path)
    with interpreting(monkeypatch) as server:
        assert [step.name for step in stages.steps(run)][:2] == ["localised", "prompts"]
        monkeypatch.setattr("sys.stdin", io.StringIO())
        with pytest.raises(InputError, match="nothing was asked of endpoint:test yet; --yes"):
            stages.localise(run)
        assert not server.calls
        out = stages.localise(run, yes=True)
        assert set(server.calls.values()) == {1}
        before = sum(server.calls.values())
        stages.localise(run)
        # 4 German drafts are worth a call back.
        assert sum(server.calls.values()) == before == (9 + 4) + (9 + 9)
    printed = capsys.readouterr().out
    assert "endpoint:test: 18 calls, about " in printed and "about $0.0" in printed
    assert "localised: 2 of 9 prompts kept in every language" in printed
    failed = {record["instruction_id"]: record for record in read_jsonl(out / "failed/de.jsonl")}
    assert {i: record["reason"] for i, record in failed.items()} == FAILED
    assert (
        failed["other"]["english"] == ENGLISH["other"]
        and failed["other"]["instruction"] == GERMAN["other"]
    )
    assert (
        failed["other"]["translated_back"] == BACK[GERMAN["other"]] and failed["other"]["chrf"] < 40
    )
    assert read_jsonl(out / "failed/es.jsonl") == []
    report = read_json(out / "report.json")
    assert (report["prompts"], report["kept"]) == (9, 2)
    assert report["langs"]["de"] == {
        "failed": dict.fromkeys(FAILED.values(), 1),
        "mean_chrf": 100.0,
    }
    parallel = read_parallel(out / "prompts")
    assert {lang: [r["prompt_id"] for r in rs] for lang, rs in parallel.items()} == {
        "en": ["ok", "fine"], "de": ["ok", "fine"], "es": ["ok", "fine"],
    }  # fmt: skip
    assert [r["instruction"] for r in parallel["de"]] == [GERMAN["ok"], GERMAN["fine"]]
    stages.collect_prompts(run)
    assert [r["instruction"] for r in read_jsonl(run.path / "prompts/es.jsonl")] == [
        SPANISH["ok"],
        SPANISH["fine"],
    ]
    written = "".join(path.read_text() for path in run.path.rglob("*") if path.is_file())
    assert "sk-very-secret" not in written

    # Another threshold, or another language, asks nothing anew: the endpoint is gone.
    run = open_run(run.path, "", {"localise.min_chrf": "0", "localise.langs": "de"})
    stages.localise(run)
    assert (
        read_json(out / "report.json")["kept"] == 3
        and "localised: redone, because" in capsys.readouterr().out
    )


def test_other_words_of_the_request_are_asked_again(tmp_path, monkeypatch, capsys):
    run = english_run(tmp_path, **{"localise.langs": "es"})
    with interpreting(monkeypatch) as server:
        stages.localise(run, yes=True)
        assert "translation_request" not in read_json(run.stamp("drafts/es"))["key"]["uses"]
        before = sum(server.calls.values())
        monkeypatch.setattr(localisation, "REQUEST", "Translate into {language}. Nothing else.")
        stages.localise(run, yes=True)
        assert sum(server.calls.values()) == 2 * before
    said = capsys.readouterr().out
    assert "drafts/es: redone, because translation_request was None, is now " in said
    drafts = read_jsonl(run.drafts("es") / "drafts.jsonl")
    assert all(one["instruction"].startswith("Translate into Spanish. Nothing") for one in drafts)


def test_translated_responses_are_known_by_the_words_that_they_were_asked_for_with(monkeypatch):
    assert response_translation.request_fields() == {}
    monkeypatch.setattr(response_translation, "REQUEST", "In English, please.")
    assert response_translation.request_fields().keys() == {"translation_request"}


def test_an_endpoint_that_goes_away_is_not_asked_twice(tmp_path, monkeypatch):
    monkeypatch.setattr("xlnb.common.endpoint.TRIES", 1)
    monkeypatch.setattr("xlnb.common.questions.IN_A_ROW", 4)
    run = english_run(tmp_path, **{"localise.workers": "1", "localise.langs": "es"})
    with interpreting(monkeypatch, most=5) as server:
        with pytest.raises(
            InputError, match=r"endpoint:test: 4 questions without an answer, .*HTTP 500"
        ):
            stages.localise(run, yes=True)
        answered = {
            r["instruction"].partition("\n\n")[2]
            for r in Journal(run.path / "drafts/es/drafts.jsonl").records()
        }
        assert len(answered) == 5
    with interpreting(monkeypatch) as server:
        stages.localise(run, yes=True)
        assert all(
            server.calls["Spanish", text] == (text not in answered) for text in ENGLISH.values()
        )
    assert read_json(run.path / "localised/report.json")["kept"] == 9


def test_half_a_character_in_a_draft_is_a_failure_of_that_draft(tmp_path, monkeypatch):
    half = "Cuenta los días de un año bisiesto \ud83d"
    monkeypatch.setitem(SPANISH, "fine", half)
    run = english_run(tmp_path, **{"localise.langs": "es"})
    with interpreting(monkeypatch):
        stages.localise(run, yes=True)
    drafts = {
        r["prompt_id"]: r["responses"][0]["text"]
        for r in read_jsonl(run.path / "drafts/es/drafts.jsonl")
    }
    assert drafts["fine"] == half
    (failed,) = read_jsonl(run.path / "localised/failed/es.jsonl")
    assert (failed["instruction_id"], failed["reason"]) == ("fine", "broken")
    # What is left is read as prompts.
    stages.collect_prompts(run)
    assert len(read_jsonl(run.prompts / "es.jsonl")) == 8


LOCAL = {"localise.by": "", "sampling.max_new_tokens": "24", "sampling.batch_tokens": "1"}


def test_a_local_model_translates_as_an_endpoint_does(tmp_path, monkeypatch):
    def interpret(model, tokenizer, prompts, *, n, **_):
        requests = [tokenizer.decode(ids, skip_special_tokens=True) for ids in prompts]
        found = []
        for request in requests:
            (text,) = {
                text
                for texts in TEXTS
                for text in texts.values()
                if text.strip() and request.endswith(text)
            }
            name = next(name for texts in TEXTS for name in texts if texts[name] == text)
            given = {"German": GERMAN, "Spanish": SPANISH, "English": ENGLISH}[
                re.search(r"into (\w+)\.", request)[1]
            ]
            answer = (
                BACK.get(text, given.get(name, "")) if given is ENGLISH else given.get(name, "")
            )
            cut = given is GERMAN and name == "cut"
            found.append([Response(answer, [1], "length" if cut else "stop")] * n)
        return found

    monkeypatch.setattr(xlnb.sampling, "sample_responses", interpret)
    run = english_run(tmp_path, **LOCAL)
    out = stages.localise(run)
    failed = {r["instruction_id"]: r["reason"] for r in read_jsonl(out / "failed/de.jsonl")}
    assert failed == FAILED | {"refused": "empty"}
    assert [r["instruction"] for r in read_jsonl(out / "prompts/de.jsonl")] == [
        GERMAN["ok"],
        GERMAN["fine"],
    ]


def test_a_killed_translation_goes_on_and_a_model_that_cannot_translate_leaves_nothing(tmp_path):
    run = english_run(tmp_path, **LOCAL, **{"localise.langs": "es", "prompts.limit": "4"})
    killed = subprocess.run(
        [sys.executable, "tests/support/killed.py", str(run.path), "localised"],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stderr=subprocess.DEVNULL,
    )
    assert killed.returncode == -signal.SIGKILL
    kept = list(Journal(run.path / "drafts/es/drafts.jsonl").records())
    assert len(kept) == 1
    # The lab's model answers in English whatever it is asked to translate.
    with pytest.raises(
        InputError, match="no prompt is left in every language; see the reasons there"
    ):
        stages.localise(run)
    drafts = read_jsonl(run.path / "drafts/es/drafts.jsonl")
    assert [r["prompt_id"] for r in drafts] == list(ENGLISH)[:4] and kept[0] in drafts
    assert all(r["instruction"] == prompt_request(ENGLISH[r["prompt_id"]], "es") for r in drafts)
    failed = read_jsonl(run.path / "localised/failed/es.jsonl")
    assert len(failed) == 4 and {r["reason"] for r in failed} <= {
        "wrong_language",
        "cut_off",
        "empty",
    }


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            {"localise.by": "gpt"},
            "localise.by 'gpt': expected endpoint:MODEL, local:FOLDER_OR_HUB_ID, seq2seq:FOLDER",
        ),
        ({"localise.langs": ""}, "set prompts.path to English prompts and localise.langs"),
        ({"localise.langs": "xx"}, "unknown language code 'xx'"),
    ],
)
def test_a_bad_translator_or_language_is_refused(tmp_path, overrides, message):
    with pytest.raises(InputError, match=message):
        stages.localise(english_run(tmp_path, **overrides), yes=True)

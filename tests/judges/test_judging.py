"""Judges: display order, verdicts read by hand, an endpoint that fails in every way, kills, two
processes, secrets."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from endpoint import (
    BY_TEXT,
    FAULTS,
    MALFORMED,
    UNANSWERED,
    N,
    comparisons,
    serving,
    without_proxies,
)
from families import checkpoint, judge_checkpoint

from xlnb import stages
from xlnb.cli.main import main
from xlnb.common.calling import NoAnswer
from xlnb.common.endpoint import TRIES
from xlnb.common.errors import InputError
from xlnb.common.files import ROOT, read_json, write_json
from xlnb.common.journal import Journal
from xlnb.evaluation.alpaca_eval import Annotation, Output, write_records
from xlnb.evaluation.biases import position_bias
from xlnb.evaluation.comparisons import read_comparisons
from xlnb.judges.asking import judge_records, with_answers
from xlnb.judges.endpoint import Endpoint, read_verdict
from xlnb.judges.model import PROMPT, ModelJudge, judge_prompt
from xlnb.judges.protocol import Verdict
from xlnb.judges.registry import get_judge
from xlnb.presets import PRESETS, Evaluation, Models, get_preset
from xlnb.runs.layout import Run
from xlnb.runs.run import open_run
from xlnb.stages import reading
from xlnb.winrates import win_rate

PUBLISHED = (
    Path(os.environ.get("XLNB_PUBLISHED_DATA", ROOT.parent / "shared" / "data"))
    / "x_alpacaeval"
    / "outputs"
)
KEY = "sk-very-secret-0123456789"
ASKED = Annotation(
    prompt_id="1",
    lang="de",
    instruction="Sag {x}.",
    output_1="Basis {first}",
    output_2="Modell",
    preference=None,
)


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    without_proxies(monkeypatch)


@pytest.fixture
def endpoint(monkeypatch):
    """A judge behind a served endpoint: endpoint(server, order)."""

    def make(server, order="random", workers=8):
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        return ModelJudge(Endpoint("test", workers=workers, wait=0.005, timeout=1.0), order)

    return make


class Fixed:
    """A label model with a taste for the first shown, and a record of what it was asked."""

    name, paid, workers = "fixed", False, 1

    def __init__(self, *answers):
        self.answers, self.prompts = list(answers), []

    def choose(self, prompt):
        self.prompts.append(prompt)
        p = self.answers[(len(self.prompts) - 1) % len(self.answers)]
        return Verdict(p, "logprobs") if p is not None else Verdict(None, "text", "neither")


# The prompt and the display order.


def test_the_prompt_holds_both_answers_in_the_order_asked_for_and_the_language_rule():
    shown = judge_prompt(ASKED, True)
    assert shown.index("Sag {x}.") < shown.index("Modell") < shown.index("Basis {first}")
    swapped = judge_prompt(ASKED, False)
    assert swapped.index("Basis {first}") < swapped.index("Modell")
    assert "in the language of the instruction, unless" in shown
    assert "\ud800" not in judge_prompt(replace(ASKED, output_2="half \ud800"), True)


def test_random_order_depends_on_the_instruction_alone_and_is_even():
    judge = ModelJudge(Fixed(0.8), "random")
    orders = [judge.orders(record)[0] for record in comparisons()]
    assert orders == [
        ModelJudge(Fixed(0.1), "random").orders(replace(r, output_2="x"))[0] for r in comparisons()
    ]
    assert 450 < sum(orders) < 550
    for record, model_first in zip(comparisons(20), orders, strict=False):
        verdict = judge(record)
        assert verdict["preference"] == pytest.approx(1.8 if model_first else 1.2)
        shown = ["preference_shown_first", "preference_shown_second"]
        assert [verdict[key] is not None for key in shown] == [model_first, not model_first]


def test_both_orders_are_averaged_and_show_the_position_bias():
    # Read first, a response gets 0.3 more: P(first) = 0.9 for the model, 0.6 for the baseline.
    verdicts = [ModelJudge(Fixed(0.9, 0.6), "both")(r) for r in comparisons(50)]
    assert verdicts[0] == {
        "preference": pytest.approx((1.9 + 1.4) / 2),
        "preference_shown_first": 1.9,
        "preference_shown_second": 1.4,
        "verdict_from": "logprobs",
    }
    bias = position_bias(
        *([v[f"preference_shown_{at}"] for v in verdicts] for at in ("first", "second"))
    )
    assert bias["bias"] == pytest.approx(25) and bias["agreement"] == 0


def test_a_malformed_answer_is_no_preference_and_is_kept():
    verdict = ModelJudge(Fixed(0.9, None), "both")(ASKED)
    assert verdict["preference"] is None and verdict["malformed"] == ["neither"]
    assert (verdict["preference_shown_first"], verdict["preference_shown_second"]) == (1.9, None)


@pytest.mark.parametrize(
    ("preference", "message"),
    [(2.5, "preference is 2.5, expected 1"), (0, "preference is 0, expected 1"),
     (True, "preference is True, expected a number"), ("win", "preference is 'win', expected")],
)  # fmt: skip
def test_a_judge_of_ones_own_that_says_no_preference_is_named(tmp_path, preference, message):
    class Own:
        name = "own"

        def __call__(self, asked):
            return {"preference": preference}

    with pytest.raises(InputError, match=f"^judge own: {message}"):
        judge_records(Own(), comparisons()[:3], Journal(tmp_path / "en.jsonl"), label="judge")


def test_nan_is_never_a_verdict(tmp_path, capfd):
    class Own:
        name = "own"

        def __call__(self, asked):
            return {"preference": float("nan"), "note": "?"}

    path = tmp_path / "en.jsonl"
    records = judge_records(Own(), comparisons()[:3], Journal(path), label="judge")
    assert [record.preference for record in records] == [None] * 3
    assert records[0].said == {"note": "?", "malformed": ["nan"]}
    assert "judge: 3 malformed and 0 missing answers of 3 comparisons" in capfd.readouterr().out
    assert "NaN" not in path.read_text()


def test_equal_responses_are_a_tie_and_cost_nothing():
    model = Fixed(0.9)
    assert ModelJudge(model, "both")(replace(ASKED, output_2=ASKED.output_1))["preference"] == 1.5
    assert not model.prompts


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gpt", "unknown judge 'gpt'; known: oracle, verifiable, endpoint:MODEL, local:"),
        ("endpoint:", "unknown judge"),
        ("local:", "unknown judge"),
    ],
)
def test_an_unknown_judge_is_refused(name, message):
    with pytest.raises(InputError, match=message):
        get_judge(name, PRESETS["lab"])


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("OPENAI_BASE_URL", "", "set OPENAI_BASE_URL"),
        ("OPENAI_BASE_URL", "localhost:8000", "set OPENAI_BASE_URL"),
        ("OPENAI_API_KEY", "sk-ключ", "OPENAI_API_KEY holds characters"),
        ("OPENAI_API_KEY", "sk-a\nb", "OPENAI_API_KEY holds characters"),
    ],
)
def test_a_bad_environment_is_refused_without_showing_the_key(
    monkeypatch, variable, value, message
):
    monkeypatch.setenv(variable, value)
    with pytest.raises(InputError, match=message) as error:
        get_judge("endpoint:m", PRESETS["lab"])
    assert not value.startswith("sk") or value not in str(error.value)


# Reading a verdict, by hand.


def completion(content, *top):
    logprobs = (
        {"content": [{"top_logprobs": [{"token": t, "logprob": p} for t, p in top]}]}
        if top
        else None
    )
    return {"choices": [{"message": {"content": content}, "logprobs": logprobs}]}


@pytest.mark.parametrize(
    ("body", "p_first", "source"),
    [
        # ln 0.8, ln 0.2
        (completion("m", ("m", -0.2231436), ("M", -1.6094379)), 0.8, "logprobs"),
        (
            completion("m", ("m", -1.2039728), (" m", -1.6094379), ("M", -0.6931472)),
            0.5,
            "logprobs",
        ),  # .3 + .2, .5
        (completion("M", ("M", -0.5), ("the", -1.0)), 0.0, "logprobs"),
        # Of thinking that was cut off nothing is read.
        (completion("<think>", ("<think>", 0.0), ("m", -14.0), ("M", -16.0)), None, "text"),
        # The labels hold a 20th, a millionth, just less and just more than half.
        (completion("x", ("x", -0.1), ("m", -3.0)), None, "logprobs"),
        (completion("<b>", ("<b>", 0.0), ("m", -14.0), ("M", -16.0)), None, "logprobs"),
        (completion("I", ("I", -0.6), ("m", -0.7), ("M", -12.0)), None, "logprobs"),
        (completion("m", ("m", -0.6), ("I", -0.8)), 1.0, "logprobs"),
        # NaN beside a number: the text says it.
        (completion("M", ("m", -0.2), ("M", float("nan"))), 0.0, "text"),
        (completion("I", ("m", -0.2), ("M", float("nan"))), None, "text"),
        (completion("m", ("m", float("-inf")), ("M", float("nan"))), 1.0, "text"),
        (completion("m", ("m", 1e9), ("M", 0.0)), 0.5, "logprobs"),
        (completion("M"), 0.0, "text"),
        (completion(' "m".'), 1.0, "text"),
        (completion("**M**"), 0.0, "text"),
        (completion("Mine"), None, "text"),
        (completion("first"), None, "text"),
        (completion(""), None, "text"),
        (completion(None), None, "text"),
    ],
)
def test_reading_a_verdict(body, p_first, source):
    verdict = read_verdict(body)
    assert (verdict.p_first, verdict.source) == (
        None if p_first is None else pytest.approx(p_first),
        source,
    )
    assert p_first is not None or verdict.answer == (body["choices"][0]["message"]["content"] or "")


# An endpoint that fails.


def answers(judge, asked):
    """What a journal has of comparisons that were judged before."""
    return [{"prompt_id": one.prompt_id} | judge(one) for one in asked]


def faults(number):
    return FAULTS.get(number % 100, ["ok"])


def check(records):
    """Every comparison of `comparisons()` once, each with the verdict or the failure that it must
    have."""
    assert [record.prompt_id for record in records] == [one.prompt_id for one in comparisons()]
    for number, record in enumerate(records):
        kind = number % 100
        # the response that says "good"
        better = 2 if number % 2 == 0 else 1
        if kind in MALFORMED:
            assert record.preference is None and len(record.said["malformed"]) == 1
        elif kind in UNANSWERED:
            assert record.preference is None
            assert record.said["error"].startswith(
                "HTTP 400" if kind == 61 else f"HTTP 500, {TRIES} times"
            )
        elif kind in BY_TEXT:
            assert (record.preference, record.said["verdict_from"]) == (better, "text")
        else:
            assert record.preference == pytest.approx(1.9 if better == 2 else 1.1)


def test_a_thousand_comparisons_through_every_failure(tmp_path, endpoint, capfd):
    with serving(faults) as server:
        records = judge_records(
            endpoint(server), comparisons(), Journal(tmp_path / "en.jsonl"), label="judge"
        )
    check(records)
    assert with_answers(comparisons(), tmp_path / "en.jsonl") == records
    assert [path.name for path in tmp_path.iterdir()] == ["en.jsonl"]
    expected = {number: len(faults(number)) for number in range(N)}
    expected |= {n: 2 * TRIES for n in range(N) if n % 100 == 67} | {
        n: 2 for n in range(N) if n % 100 == 61
    }
    assert all(server.calls[number] >= calls for number, calls in expected.items())
    # None was asked again that had been answered, but for one to see whether the endpoint is there:
    # after ten "500" one after the other, before and after they are asked again. On a loaded
    # machine a few come after the time limit.
    assert sum(server.calls.values()) - sum(expected.values()) <= 10 + 3
    assert 1 < server.most_at_once <= 8
    output = capfd.readouterr()
    assert "30 malformed and 20 missing answers of 1000 comparisons" in output.out
    assert KEY not in output.out + output.err + (tmp_path / "en.jsonl").read_text()
    judged = [float("nan") if r.preference is None else r.preference for r in records]
    # 500 even ones with 0.9; of the odd ones 30 by text with 0, 50 not judged, 420 with 0.1
    assert win_rate(judged)[0] == pytest.approx(100 * (500 * 0.9 + 420 * 0.1) / 950)


def test_a_killed_run_goes_on_and_asks_nothing_twice(tmp_path, endpoint):
    part = tmp_path / "en.jsonl.part"
    with serving(faults, delay=0.002) as server:
        judge = endpoint(server)
        process = subprocess.Popen(
            [sys.executable, "tests/support/endpoint.py", str(tmp_path)],
            cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        deadline = time.monotonic() + 60
        while not (part.exists() and part.read_bytes().count(b"\n") >= 300):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        with part.open("a") as file:
            file.write('{"prompt_id": "torn')
        kept = {record["prompt_id"] for record in Journal(tmp_path / "en.jsonl").records()}
        assert 300 <= len(kept) < N
        before = Counter(server.calls)
        records = judge_records(judge, comparisons(), Journal(tmp_path / "en.jsonl"), label="judge")
    check(records)
    assert [n for n in range(N) if f"{n}" in kept and server.calls[n] != before[n]] == []


def test_an_endpoint_that_is_down_stops_the_run_and_keeps_what_was_judged(
    tmp_path, endpoint, monkeypatch
):
    monkeypatch.setattr("xlnb.common.endpoint.TRIES", 2)
    down = False
    with serving(lambda number: ["500"] if down else ["ok"]) as server:
        judge = endpoint(server, workers=2)
        some = comparisons(40)
        journal = Journal(tmp_path / "en.jsonl")
        journal.append(answers(judge, some[:15]))
        down = True
        with pytest.raises(
            InputError, match=r"10 questions without an answer, the last: HTTP 500, 2 times"
        ):
            judge_records(judge, some, journal, label="judge")
        assert (
            len(list(Journal(tmp_path / "en.jsonl").records())) == 15
        )  # failures are not on record: they will be asked again
        down = False
        records = judge_records(judge, some, Journal(tmp_path / "en.jsonl"), label="judge")
    assert all(record.preference is not None for record in records) and len(records) == 40


@pytest.mark.parametrize("first", [0, 3], ids=["from the beginning", "near the end"])
def test_an_outage_is_not_final_however_few_questions_it_meets(
    tmp_path, endpoint, monkeypatch, first
):
    monkeypatch.setattr("xlnb.common.endpoint.TRIES", 2)
    ties = [
        replace(r, prompt_id=f"tie {r.prompt_id}", output_2=r.output_1) for r in comparisons(2)
    ]  # need no call: tell nothing
    some = [*comparisons(6), *ties]
    down = False
    with serving(lambda number: ["500"] if down else ["ok"]) as server:
        judge, journal = endpoint(server, workers=2), Journal(tmp_path / "en.jsonl")
        journal.append(answers(judge, some[:first]))
        down = True
        with pytest.raises(
            InputError, match=rf"endpoint:test: {6 - first} questions without an answer, .* 2 times"
        ):
            judge_records(judge, some, journal, label="judge")
        kept = {record["prompt_id"] for record in Journal(tmp_path / "en.jsonl").records()}
        assert kept == {"tie 0", "tie 1", *(record.prompt_id for record in some[:first])}
        down = False
        records = judge_records(judge, some, Journal(tmp_path / "en.jsonl"), label="judge")
    assert [r.prompt_id for r in records] == [r.prompt_id for r in some] and not any(
        "error" in r.said for r in records
    )
    assert [r.preference for r in records[-2:]] == [1.5, 1.5]


def test_what_met_an_outage_is_asked_again_after_all_others(tmp_path, endpoint, monkeypatch):
    monkeypatch.setattr("xlnb.common.endpoint.TRIES", 2)
    with serving(lambda number: ["500", "503", "ok"] if number in (1, 39) else ["ok"]) as server:
        records = judge_records(
            endpoint(server), comparisons(40), Journal(tmp_path / "en.jsonl"), label="judge"
        )
        assert all(record.preference is not None for record in records)
        assert server.calls[1] == server.calls[39] == 3


def test_a_question_that_the_endpoint_always_fails_at_is_final_even_if_only_such_are_left(
    tmp_path, endpoint, monkeypatch
):
    monkeypatch.setattr("xlnb.common.endpoint.TRIES", 2)
    with serving(
        lambda number: ["500"] if number >= 8 else ["too long"] if number == 7 else ["ok"]
    ) as server:
        judge, some = endpoint(server), comparisons(20)
        journal = Journal(tmp_path / "en.jsonl")
        # and killed
        journal.append(answers(judge, some[:7]))
        records = judge_records(judge, some, journal, label="judge")
    errors = [record.said.get("error") for record in records]
    assert [error is not None for error in errors] == [False] * 7 + [True] * 13
    assert errors[7].startswith("HTTP 400") and errors[8] == "HTTP 500, 2 times: broken"


def test_a_refused_key_stops_at_once_and_is_not_shown(tmp_path, endpoint):
    with serving(lambda number: ["401"]) as server:
        with pytest.raises(
            InputError, match=r"endpoint:test: HTTP 401, .*wrong key Bearer \[key\]"
        ) as error:
            judge_records(
                endpoint(server, workers=1),
                comparisons(5),
                Journal(tmp_path / "en.jsonl"),
                label="judge",
            )
        assert sum(server.calls.values()) <= 2
    assert KEY not in str(error.value)


def test_an_endpoint_without_logprobs_is_asked_for_text_from_then_on(endpoint, capsys):
    with serving(lambda number: ["no logprobs at all"]) as server:
        judge = endpoint(server)
        verdicts = [judge(record) for record in comparisons(4)]
        assert [verdict["preference"] for verdict in verdicts] == [2, 1, 2, 1]
        assert [server.calls[number] for number in range(4)] == [2, 1, 1, 1]
    assert capsys.readouterr().out.count("verdicts are read from the text") == 1


def test_nothing_listening_is_an_outage():
    with pytest.raises(NoAnswer, match=r"ConnectError, 8 times") as error:
        Endpoint("test", workers=1, wait=0.0).choose(judge_prompt(ASKED, True))
    assert error.value.outage


def test_retry_after_is_waited_for(endpoint):
    with serving(lambda number: ["429 wait", "ok"]) as server:
        judge, began = endpoint(server), time.monotonic()
        assert judge(comparisons(1)[0])["preference"] > 1.5
        assert time.monotonic() - began >= 0.05


# A local model.


WHOLE = replace(PRESETS["lab"], models=Models(quantization="none"), evaluation=Evaluation())


def test_a_local_judge_reads_the_labels_log_probabilities():
    preset = replace(WHOLE, evaluation=Evaluation(judge_order="both"))
    judge = get_judge(f"local:{judge_checkpoint()}", preset)
    model, tokenizer = judge.model._model, judge.model._tokenizer
    prompt = judge_prompt(ASKED, True)
    turn = [{"role": "user", "content": prompt}]
    text = tokenizer.apply_chat_template(turn, add_generation_prompt=True, tokenize=False)
    ids = tokenizer(text, add_special_tokens=False, return_tensors="pt")["input_ids"]
    labels = [tokenizer(label, add_special_tokens=False)["input_ids"] for label in ("m", "M")]
    assert [len(label) for label in labels] == [1, 1]
    with torch.inference_mode():
        probabilities = (
            model(input_ids=ids).logits[0, -1].softmax(-1)[[label[0] for label in labels]]
        )
    assert probabilities.sum() > 0.9 and probabilities.min() > 0.001
    verdict = judge(ASKED)
    expected = 1 + (probabilities[0] / probabilities.sum()).item()
    assert verdict["preference_shown_first"] == pytest.approx(expected, abs=1e-5)
    assert verdict == judge(ASKED) and 1 <= verdict["preference"] <= 2
    swapped = judge(replace(ASKED, output_1=ASKED.output_2, output_2=ASKED.output_1))
    assert swapped["preference"] == pytest.approx(
        3 - verdict["preference"], abs=1e-6
    )  # both orders: blind to order


def test_a_local_judge_that_would_say_something_else_gives_no_verdict():
    judge = get_judge(f"local:{checkpoint('llama3')}", WHOLE)
    (said,) = judge(ASKED)["malformed"]
    assert judge(ASKED)["preference"] is None and said.startswith("something else (m ")


def test_a_comparison_that_a_local_judge_cannot_be_given_has_no_answer():
    judge = get_judge(f"local:{judge_checkpoint()}", WHOLE)
    mentions = replace(ASKED, output_2="It ends with <|eot_id|>, I think.")
    assert 1 <= judge(mentions)["preference"] <= 2
    with pytest.raises(NoAnswer, match=r"U\+FDD0") as error:
        judge(replace(ASKED, output_2="\ufdd0"))
    assert not error.value.outage


def test_an_id_that_is_there_twice_in_outputs_is_refused(tmp_path):
    once, twice = tmp_path / "once.json", tmp_path / "twice.json"
    write_records(once, [Output(prompt_id="7", instruction="a", output="b")])
    same = [Output(prompt_id="7", instruction="a", output=text) for text in "bc"]
    write_records(twice, same)
    for mine, theirs in ((once, twice), (twice, once)):
        with pytest.raises(InputError, match=r"twice\.json: id 7 is there twice"):
            read_comparisons(mine, theirs, "en", annotator="")


def test_an_id_that_numbers_another_list_of_instructions_is_refused(tmp_path):
    def outputs(name, *instructions):
        rows = [
            {"id": i, "instruction": text, "output": f"{name} on {text}"}
            for i, text in enumerate(instructions)
        ]
        write_json(tmp_path / name, rows)
        return tmp_path / name

    mine = outputs("mine.json", "One?", "Two?", "Three?")
    same = read_comparisons(
        mine, outputs("same.json", "One? ", "\nTwo?", "Three?"), "en", annotator="oracle"
    )
    assert [record.output_1 for record in same] == [
        "same.json on One? ",
        "same.json on \nTwo?",
        "same.json on Three?",
    ]
    other = outputs("other.json", "One?", "Three?", "Two?")
    with pytest.raises(
        InputError, match=r"other\.json: id 1 has another instruction than in .*mine\.json"
    ):
        read_comparisons(mine, other, "en", annotator="oracle")


@pytest.mark.skipif(
    not PUBLISHED.is_dir(), reason="published outputs not there: set XLNB_PUBLISHED_DATA"
)
def test_published_outputs_are_judged_as_they_lie_there(tmp_path, endpoint):
    mine, theirs = (
        PUBLISHED / "de" / f"{m}.json" for m in ("gpt-4o-mini", "gpt-4-turbo-2024-04-09")
    )
    records = read_comparisons(mine, theirs, "de", annotator="endpoint:test")
    assert len(records) == 805 and {r.generator_1 for r in records} == {"gpt-4-turbo-2024-04-09"}
    assert sum(record.in_language_2 for record in records) > 780
    with serving() as server:
        judged = judge_records(
            endpoint(server), records[:40], Journal(tmp_path / "de.jsonl"), label="judge"
        )
    assert len(judged) == 40 and all(
        record.preference == pytest.approx(1.5, abs=0.41) for record in judged
    )


# The stage.

ENDPOINT = ("-p", "evaluation.judge=endpoint:test")


@pytest.fixture
def run(tmp_path):
    """A run of two languages with responses of sft and dpo that nobody had to sample."""
    run = open_run(
        tmp_path / "run",
        "lab-quick",
        {"prompts.langs": "en,es", "evaluation.judge": "endpoint:test"},
    )
    stages.collect_prompts(run)
    for model in ("sft", "dpo"):
        for lang, records in reading.eval_prompts(run).items():
            outputs = []
            for i, record in enumerate(records):
                kind = "good" if model == "dpo" and i % 3 else "bad"
                outputs.append(
                    Output(
                        generator=model,
                        dataset="lab",
                        prompt_id=record.prompt_id,
                        instruction=record.instruction,
                        output=f"a {kind} answer, {i}",
                    )
                )
            write_records(run.evaluated(model).outputs(lang), outputs)
    return run


def stage_judge(run, *arguments):
    return main(["stage", "judge", "--run", str(run.path), "--model", "dpo", *arguments])


def test_the_stage_asks_before_the_first_call(run, monkeypatch, capsys):
    with serving() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        assert stage_judge(run, "-p", "evaluation.judge_price=10") == 2
        output = capsys.readouterr()
        assert (
            "endpoint:test: 16 calls, about " in output.out and " tokens, about $0.0" in output.out
        )
        assert (
            output.err.startswith("error: nothing was asked of endpoint:test yet; --yes")
            and output.err.count("\n") == 1
        )
        assert not server.calls
        assert stage_judge(run, "--yes", "-p", "evaluation.judge_order=both") == 0
        assert sum(server.calls.values()) == 32
    records = read_json(run.path / "eval/dpo/es/annotations.json")
    for i, record in enumerate(records):
        # Every third response equals the baseline's: a tie, without a call.
        assert record["preference"] == pytest.approx(1.9 if i % 3 else 1.5)
    assert {record["annotator"] for record in records} == {"endpoint:test"}
    assert all(isinstance(record["in_language_2"], bool) for record in records)
    assert (
        stage_judge(run, "-p", "evaluation.judge_order=both") == 0
    )  # finished: nothing to ask consent for
    written = "".join(path.read_text() for path in run.path.rglob("*") if path.is_file())
    assert KEY not in written and server.url not in written


def test_what_was_judged_with_another_prompt_is_judged_again(run, monkeypatch, capsys):
    with serving() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        assert stage_judge(run, "--yes") == 0
        # Those who had no other prompt remember none.
        key = read_json(run.path / "stages/eval.dpo.annotations.json")["key"]
        assert "judge_prompt" not in key["uses"]
        monkeypatch.setattr("xlnb.judges.model.PROMPT", f"{PROMPT}\nThink of the reader.")
        assert stage_judge(run, "--yes") == 0
        said = capsys.readouterr().out
        assert "eval/dpo/annotations: redone, because judge_prompt was None, is now " in said
        assert sum(server.calls.values()) == 32


def test_what_had_no_answer_is_asked_about_again_on_request(run, monkeypatch, capsys):
    with serving(lambda number: [*["ok"] * 5, "413", "ok"]) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        assert stage_judge(run, "--yes") == 0
        assert "1 missing answers" in capsys.readouterr().out
        # Where it was the last to come, one call more saw whether the endpoint was still there.
        calls = sum(server.calls.values())
        assert calls in (16, 17)

        def unjudged():
            paths = [run.path / f"eval/dpo/{lang}/annotations.json" for lang in ("en", "es")]
            return sum(one["preference"] is None for path in paths for one in read_json(path))

        assert unjudged() == 1
        assert stage_judge(run, "--yes") == 0
        assert unjudged() == 1 and sum(server.calls.values()) == calls
        assert stage_judge(run, "--yes", "--again") == 0
        assert unjudged() == 0 and sum(server.calls.values()) == calls + 1
        assert stage_judge(run, "--yes", "--again") == 0
        assert sum(server.calls.values()) == calls + 1
    # A judged file that is lost is missed.
    assert main(["winrate", str(run.path / "eval")]) == 0
    (run.path / "eval/dpo/es/annotations.json").unlink()
    capsys.readouterr()
    assert main(["winrate", str(run.path / "eval")]) == 2
    said = capsys.readouterr().err
    assert "dpo/es/annotations.json, which is missing since stage eval/dpo/annotations" in said
    assert main(["winrate", str(run.path / "eval/dpo/en/annotations.json")]) == 0


def test_a_baseline_in_alpacaevals_form(run, tmp_path, monkeypatch, capsys):
    # AlpacaEval's own files have no ids
    for lang, records in reading.eval_prompts(run).items():
        outputs = [
            {"instruction": r.instruction, "output": "a bad answer", "generator": "gpt-4"}
            for r in records
        ]
        write_json(
            tmp_path / "outputs" / lang / "gpt-4.json",
            [*outputs, {"instruction": "Another.", "output": "x"}],
        )
    baseline = ("--yes", "-p", f"evaluation.baseline={tmp_path}/outputs/{{lang}}/gpt-4.json")
    with serving() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        assert stage_judge(run, *baseline) == 0
        records = read_json(run.path / "eval/dpo/es/annotations.json")
        assert {record["generator_1"] for record in records} == {"gpt-4"}
        assert {record["output_1"] for record in records} == {"a bad answer"}
        write_json(tmp_path / "outputs/es/gpt-4.json", outputs[:-1])
        capsys.readouterr()
        assert stage_judge(run, *baseline) == 2
        assert "es/gpt-4.json: no output for instruction" in capsys.readouterr().err
        write_json(tmp_path / "outputs/es/gpt-4.json", [*outputs, {"output": "x"}])
        assert stage_judge(run, *baseline) == 2
        assert "es/gpt-4.json, record 12: expected a JSON object" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["-p", "evaluation.baseline=gpt-4"],
            "evaluation.baseline 'gpt-4': expected sft, dpo, icr1, icr2, or files as",
        ),
        (["--model", "icr9"], "unknown model 'icr9'; this run has sft, dpo, icr1, icr2"),
    ],
)
def test_an_unknown_model_or_baseline_is_refused(run, capsys, arguments, message):
    capsys.readouterr()
    assert stage_judge(run, *arguments) == 2
    assert message in capsys.readouterr().err


def test_a_second_process_is_refused_until_the_first_ends(run, monkeypatch, capsys):
    holder = f"""
import sys, time
from pathlib import Path
from xlnb.presets import get_preset
from xlnb.runs.layout import Run
from xlnb.runs.stage import Stage
run = Run(Path({str(run.path)!r}), get_preset("lab-quick"))
with Stage(run, "eval/sft/annotations", inputs=[], uses={{}}, out=run.path / "other").working():
    print("held", flush=True)
    time.sleep(60)
"""
    process = subprocess.Popen(
        [sys.executable, "-c", holder],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
    )
    assert process.stdout.readline() == b"held\n"
    capsys.readouterr()
    before = {path: path.read_bytes() for path in run.path.rglob("*.json*")}
    with serving() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        assert stage_judge(run, "--yes") == 2
        message = (
            f"error: {run.path}: another process is at work in this run folder; wait for it or stop"
            " it\n"
        )
        assert capsys.readouterr().err.endswith(message)
        assert {path: path.read_bytes() for path in run.path.rglob("*.json*")} == before
        assert not server.calls
        # a lock does not outlive its process
        process.kill()
        process.wait()
        process.stdout.close()
        assert stage_judge(run, "--yes") == 0
    assert len(read_json(run.path / "eval/dpo/en/annotations.json")) == 12


def test_judged_but_not_yet_written_annotations_are_written(run, monkeypatch):
    """A kill between the journal's end and annotations.json."""
    with serving() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        assert stage_judge(run, "--yes") == 0
        path = run.path / "eval/dpo/en/annotations.json"
        expected, calls = path.read_bytes(), dict(server.calls)
        path.unlink()
        stamp = run.path / "stages/eval.dpo.annotations.json"
        stamp.write_text(json.dumps(json.loads(stamp.read_text()) | {"state": "working"}))
        assert stage_judge(run, "--yes") == 0
    assert path.read_bytes() == expected and dict(server.calls) == calls


def test_a_run_with_prompts_of_its_own_is_judged_where_its_judge_is_not_the_oracle(tmp_path):
    def names(**overrides):
        preset = get_preset(
            "lab-quick", {key.replace("__", "."): value for key, value in overrides.items()}
        )
        return [step.name for step in stages.steps(Run(tmp_path, preset))]

    assert names(prompts__path="a", prompts__eval_path="b")[-1] == "eval/icr2/responses"
    assert (
        names(prompts__path="a", prompts__eval_path="b", evaluation__judge="endpoint:m")[-1]
        == "report"
    )
    assert "report" not in names(prompts__path="a", evaluation__judge="endpoint:m")

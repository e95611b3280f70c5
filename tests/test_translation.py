"""Translations: what is asked, what fails and why, and that what failed is never scored."""

from families import fp32

from xlnb import stages
from xlnb.logprobs import Budget
from xlnb.models import load_base, load_tokenizer, prompt_ids, response_ids
from xlnb.rewards import score_responses
from xlnb.runs import open_run, read_jsonl, write_jsonl
from xlnb.translation import find_translations, translation_prompt, translation_tasks


def said(text, finish_reason="stop"):
    return {"text": text, "token_ids": [7, 8], "finish_reason": finish_reason}


SAMPLE = {
    "prompt_id": "fact#1",
    "lang": "es",
    "split": "train",
    "prompt": "¿Capital?",
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
GIVEN = {"París": said("Paris"), "Roma": said("Rome is the cap", "length"), "Lima": said("\n"), "x": said("no inglés")}


def test_each_whole_text_is_asked_for_once():
    tasks = list(translation_tasks([SAMPLE]))
    assert [task["instruction"] for task in tasks] == [translation_prompt(t) for t in ("París", "Roma", "Lima", "x")]
    assert [task["prompt_id"] for task in tasks] == ["fact#1#0", "fact#1#1", "fact#1#2", "fact#1#3"]
    assert {(task["lang"], task["split"]) for task in tasks} == {("es", "train")}
    assert list(translation_tasks([])) == []


def test_failures_are_marked_by_reason():
    given = {("fact#1", translation_prompt(text)): answer for text, answer in GIVEN.items()}
    texts, failures = find_translations(SAMPLE, given, lambda text: "inglés" in text)
    assert texts == ["Paris", "Paris", None, None, None, None, None]
    assert failures == [None, None, "no_whole_text", "no_whole_text", "cut_off", "empty", "wrong_language"]


def test_translations_are_scored_under_the_english_prompt_and_failures_are_not(tmp_path):
    run = open_run(tmp_path / "run", "lab-quick", {"scoring.scorers": "translated", "scoring.keep_tokens": "true"})
    model, tokenizer = load_base(fp32("llama3")), load_tokenizer(fp32("llama3"))
    path = tmp_path / "es.jsonl"
    asked = {f"fact#1#{i}": text for i, text in enumerate(GIVEN)}
    write_jsonl(
        path,
        [{"prompt_id": i, "prompt": translation_prompt(text), "responses": [GIVEN[text]]} for i, text in asked.items()],
    )
    (record,) = stages._translated([SAMPLE], path)
    assert record["translation_failure"][:3] == [None, None, "no_whole_text"]
    english = "What is the capital of France?"
    (scored,) = stages._score_chunk(
        run, model, tokenizer, "sft", "translated", [record], {"fact#1": english}, Budget(4096)
    )
    n_scored = sum(failure is None for failure in scored["translation_failure"])
    assert 2 <= n_scored <= 3  # the detector may or may not be sure of "no inglés"
    for name in ("policy_logps", "ref_logps", "reward", "n_tokens", "policy_token_logps", "ref_token_logps"):
        missing = [value is None for value in scored[name]]
        assert missing == [failure is not None for failure in scored["translation_failure"]], name
    y = response_ids(tokenizer, english, "Paris")
    ((expected,), _) = score_responses(model, "sft", "sft", [prompt_ids(tokenizer, english)], [y], batch_tokens=4096)
    assert abs(scored["policy_logps"][0] - expected.sum().item()) < 1e-3
    assert scored["reward"][0] == 0.0  # one model against itself
    assert len(scored["policy_token_logps"][0]) == scored["n_tokens"][0] == len(y)
    assert scored["n_chars"] == [len(response["text"]) for response in SAMPLE["responses"]]  # of the response itself


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
    assert [r["prompt"] for r in translations] == [task["instruction"] for task in translation_tasks(samples)]
    assert not (run.path / "icr1/translations/en.jsonl").exists()
    for record in read_jsonl(run.path / "icr1/scores/translated/es.jsonl"):
        assert [r is None for r in record["reward"]] == [bool(f) for f in record["translation_failure"]]
    for record in read_jsonl(run.path / "icr1/scores/translated/en.jsonl"):
        assert "translation_failure" not in record and None not in record["reward"]
    assert set(stages._rewards_against_truth(run, run.path / "icr1")) <= {"cross_lingual", "translated"}

"""Stage localise with more than one try: what is asked, kept, told and kept in mind."""

import hashlib
import io
from functools import partial

import pytest
from interpreting import BACK, ENGLISH, FAILED, GERMAN, NAMES, english_run, given, interpreting

from xlnb import stages
from xlnb.common.errors import InputError
from xlnb.common.files import read_json, read_jsonl
from xlnb.inputs.redrafting import FORMS, REFINED
from xlnb.runs.run import open_run

RIVERS = "Nenne drei Flüsse in Deutschland und die Städte, durch die sie fließen."
MOUNTAINS = "Welche Berge sind höher als die Alpen, und wo stehen sie?"
HOUSE = "Beschreibe, in welchem Haus du gern leben würdest."
TELL = {**FORMS, "refined": REFINED}
# What the interpreter says when asked for more, by name and form; else what it has always said.
BETTER = {
    ("blank", "sense"): RIVERS,
    ("blank", "refined"): "Nenne Flüsse und Städte in Deutschland, drei an der Zahl.",
    ("french", "refined"): MOUNTAINS,
    ("lost", "free"): HOUSE,
}
ALL_NAMES = NAMES | {text: name for (name, _), text in BETTER.items()}
NEAR = {BETTER["blank", "refined"]: "Name the rivers and towns of Germany, three of them."}


def better(lang, name, text, asked, *, told):
    told.append((lang, name, asked))
    forms = [form for form, line in TELL.items() if line in asked]
    if lang == "English":
        return NEAR.get(text, ENGLISH[name] if text not in BACK else BACK[text])
    if forms and (name, forms[0]) in BETTER:
        return BETTER[name, forms[0]]
    return given(lang, name, text, asked)


def tries(run, monkeypatch, **options):
    told = []
    answers = partial(better, told=told)
    with interpreting(monkeypatch, given=answers, names=ALL_NAMES, **options) as server:
        stages.localise(run, yes=True)
        return told, sum(server.calls.values())


def digest(folder, *names):
    found = hashlib.sha256()
    for path in sorted(path for name in names for path in (folder / name).rglob("*")):
        if path.is_file():
            found.update(f"{path.relative_to(folder)}".encode() + path.read_bytes())
    return found.hexdigest()


def test_one_try_is_what_it_was_byte_for_byte(tmp_path, monkeypatch):
    run = english_run(tmp_path, **{"localise.drafts": "1"})
    tries(run, monkeypatch)
    # of the revision before there were tries
    assert digest(run.path, "drafts", "localised") == (
        "1ffe7a6d096e3c9760ea72dcbb88ec640bfcb8345db6689ff03e45c8a3e09920"
    )
    uses = {name: read_json(path)["key"]["uses"] for name, path in run.stamps.items()}
    assert uses["drafts/de"]["localise"] == {"by": "endpoint:test"}
    assert uses["localised"]["localise"] == {"langs": "de,es", "min_chrf": 40.0}
    assert not (run.path / "redrafts").exists()


def test_what_fails_is_asked_for_again_and_the_nearest_draft_is_kept(tmp_path, monkeypatch, capsys):
    # One call at a time: a refusal that comes last is followed by a call that sees whether the
    # endpoint is there.
    run = english_run(tmp_path, **{"localise.drafts": "2", "localise.workers": "1"})
    told, calls = tries(run, monkeypatch)
    # 31 of one try; 7 failed in German: drafts and refined ones, of which rivers came twice,
    # mountains and the house once as something new that may be a translation.
    assert calls == 31 + 7 * 4 + 4
    again = [(name, asked) for lang, name, asked in told if lang == "German" and "Keep as" in asked]
    assert {name for name, _ in again} == FAILED.keys() - {"refused"}
    assert "In Spanish: Esta es la traducción" in dict(again)["french"]
    assert "failed: it was in another language." in dict(again)["french"]
    out = run.localised
    report = read_json(out / "report.json")
    assert (report["kept"], report["kept_by_try"]) == (5, [2, 5])
    assert report["langs"]["de"]["failed"] == {
        reason: 1 for name, reason in FAILED.items() if name not in ("blank", "french", "lost")
    }
    german = {one["instruction_id"]: one for one in read_jsonl(out / "prompts/de.jsonl")}
    assert [*german] == ["ok", "blank", "french", "lost", "fine"]
    # The one for the sense comes back as it was, the refined one only near to it.
    assert german["blank"] == {"instruction_id": "blank", "instruction": RIVERS, "chrf": 100.0}
    assert german["french"]["instruction"] == MOUNTAINS
    assert german["lost"]["instruction"] == HOUSE
    printed = capsys.readouterr().out
    assert "localised: 5 with 2 of 2 tries" in printed
    assert "after these, at most 8 calls a try, up to 1 tries, for each prompt" in printed
    first = digest(run.path, "drafts", "redrafts", "localised")

    # Nothing is asked twice, and a third try asks about what is left alone.
    assert tries(run, monkeypatch)[1] == 0
    assert digest(run.path, "drafts", "redrafts", "localised") == first
    more = open_run(run.path, "", {"localise.drafts": "3"})
    told, calls = tries(more, monkeypatch)
    assert calls == 4 * 4
    assert {name for _, name, _ in told} == {"other", "same", "cut"}
    assert all("failed: " in asked for _, _, asked in told)
    assert digest(run.path, "redrafts/2") == digest(more.path, "redrafts/2")
    assert read_json(out / "report.json")["kept_by_try"] == [2, 5, 5]


def test_an_endpoint_that_goes_away_in_a_later_try_is_not_asked_twice(tmp_path, monkeypatch):
    monkeypatch.setattr("xlnb.common.endpoint.TRIES", 1)
    monkeypatch.setattr("xlnb.common.questions.IN_A_ROW", 4)
    run = english_run(tmp_path, **{"localise.drafts": "2", "localise.workers": "1"})
    with pytest.raises(InputError, match="without an answer, the last: HTTP 500"):
        tries(run, monkeypatch, most=31 + 10)
    told, _ = tries(run, monkeypatch)
    # The refused one fails of itself; 18 drafts were to be made of the others, 10 calls were over.
    drafts = [name for _, name, asked in told if any(line in asked for line in FORMS.values())]
    assert len(drafts) <= 18 - (10 - 3)
    assert read_json(run.localised / "report.json")["kept_by_try"] == [2, 5]


def test_another_threshold_asks_about_other_failures(tmp_path, monkeypatch, capsys):
    run = english_run(tmp_path, **{"localise.drafts": "2", "localise.min_chrf": "0"})
    tries(run, monkeypatch)
    strict = open_run(run.path, "", {"localise.min_chrf": "40"})
    told, _ = tries(strict, monkeypatch)
    assert "redrafts/2/de: redone, because min_chrf was 0.0, is now 40.0" in capsys.readouterr().out
    # The first drafts are not made anew.
    assert all("failed: " in asked or lang == "English" for lang, _, asked in told)
    assert "other" in {name for _, name, _ in told}


def test_consent_counts_the_calls_of_a_try(tmp_path, monkeypatch, capsys):
    run = english_run(tmp_path, **{"localise.drafts": "2"})
    with interpreting(monkeypatch):
        monkeypatch.setattr("sys.stdin", io.StringIO())
        stages.localise(english_run(tmp_path), yes=True)
        run = open_run(run.path, "", {"localise.drafts": "2"})
        with pytest.raises(InputError, match="nothing was asked of endpoint:test yet; --yes"):
            stages.localise(run)
    # 7 prompts, at most 8 calls each
    printed = capsys.readouterr().out
    assert "endpoint:test: 56 calls, about " in printed
    # One try has nothing to add.
    assert "for each prompt that fails" not in printed
    assert not (run.path / "redrafts/2/de/drafts.jsonl").exists()
    assert GERMAN["ok"] in (run.path / "localised/prompts/de.jsonl").read_text()

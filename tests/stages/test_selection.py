"""Some of an iteration's training prompts, by gradients or by chance, in every language."""

import pytest
from small import SMALL

from xlnb import stages
from xlnb.common.errors import InputError
from xlnb.common.files import read_json, read_jsonl
from xlnb.runs.run import open_run

BY_GRADIENT = {**SMALL, "prompts.select": "gradient", "prompts.selected": "3"}


@pytest.fixture(scope="module")
def sampled(tmp_path_factory):
    run = open_run(tmp_path_factory.mktemp("run") / "selected", "lab-quick", BY_GRADIENT)
    return stages.run_until(run, "icr1/samples")


def ids(run, split, lang="es"):
    records = read_jsonl(run.iteration(1).samples(lang))
    return [record["prompt_id"] for record in records if record["split"] == split]


def test_the_selected_prompts_alone_are_sampled_in_every_language(sampled):
    found = read_json(sampled.path / "icr1/selected.json")
    assert len(found["prompt_ids"]) == 3
    for lang in ("en", "es"):
        assert set(ids(sampled, "train", lang)) == set(found["prompt_ids"])
        assert len(ids(sampled, "reward", lang)) == 6
    # Those of this iteration's part, which have an English preference.
    prompts = [prompt for prompt in stages.read_prompts(sampled)["en"] if prompt.split == "train"]
    assert set(found["prompt_ids"]) <= {prompt.prompt_id for prompt in prompts[::2]}
    preferred = {pair["prompt_id"] for pair in read_jsonl(sampled.iteration(0).pairs("en"))}
    assert set(found["prompt_ids"]) <= preferred
    assert found["of"] == len(preferred & {prompt.prompt_id for prompt in prompts[::2]})


def test_they_are_nearer_the_mean_gradient_than_chance(sampled):
    found = read_json(sampled.path / "icr1/selected.json")
    assert 0 < found["distance"] < found["at_random"]


def test_by_chance_no_model_is_asked(sampled, monkeypatch):
    monkeypatch.setattr("xlnb.stages.selection.load_model", None)
    asked = {"prompts.select": "random"}
    run = stages.run_until(open_run(sampled.path, overrides=asked), "icr1/selected")
    found = read_json(run.path / "icr1/selected.json")
    assert len(set(found["prompt_ids"])) == 3 and "distance" not in found
    assert "training" not in read_json(run.stamp("icr1/selected"))["key"]["uses"]


def test_more_than_there_are_is_refused(sampled):
    run = open_run(sampled.path, overrides={"prompts.selected": "7"})
    with pytest.raises(InputError, match=r"prompts\.selected 7: \d training prompts of icr1 have"):
        stages.run_until(run, "icr1/selected")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prompts.selected": "0"}, r"^prompts\.select=gradient with selected=0: set both"),
        ({"prompts.select": "all"}, r"^prompts\.select=all with selected=3: set both"),
        ({"models.dpo": "ORG/NAME"}, r"^prompts\.select goes by the English .* leave it out$"),
        ({"models.shard": "true"}, r"^prompts\.select=gradient: one process .*shard=false$"),
    ],
)
def test_what_it_does_not_go_with_is_refused_before_anything_is_made(tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        open_run(tmp_path / "run", "lab-quick", {**BY_GRADIENT, **changes})
    assert not (tmp_path / "run").exists()

"""Notebooks on runs that are not the lab's.

Prompts of one's own, a language model as the judge, tiny random models.
"""

import json
import shutil

import matplotlib.pyplot as plt
import nbformat
import pytest
import torch
from families import checkpoint, judge_checkpoint, save_adapter
from IPython.core.displaypub import CapturingDisplayPublisher
from IPython.core.interactiveshell import InteractiveShell
from transformers import AutoModelForCausalLM

from xlnb import stages
from xlnb.common.errors import InputError
from xlnb.common.files import read_json, write_jsonl
from xlnb.lab.truth import LAB_ONLY
from xlnb.presets import Models
from xlnb.runs.notebooks import execute, numbered, of_run, topic
from xlnb.runs.run import open_run

PROMPTS = {
    "en": [
        "What is the capital of France?",
        "Name a colour.",
        "Where is Paris?",
        "Who are you?",
        "Is it blue?",
    ],
    "es": [
        "¿Cuál es la capital de Francia?",
        "Di un color.",
        "¿Dónde está París?",
        "¿Quién eres?",
        "¿Es azul?",
    ],
    "ru": [
        "Какой город является столицей Франции?",
        "Назови цвет.",
        "Где Париж?",
        "Кто ты?",
        "Синее?",
    ],
}
SMALL = {
    "iterations": "1",
    "sampling.max_new_tokens": "16",
    "evaluation.max_new_tokens": "16",
    "evaluation.resamples": "100",
    "training.steps": "2",
    "training.batch": "4",
    "training.micro_batch": "4",
    "training.lora_r": "4",
    "pairing.language_filter": "false",  # random models speak no language
}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A tiny Llama that ends its turn now and then, as a random one hardly does.

    One token in ten is an end.
    """
    folder = shutil.copytree(checkpoint("llama3"), tmp_path_factory.mktemp("base") / "llama")
    config = read_json(folder / "generation_config.json")
    config["eos_token_id"] = sorted({*config["eos_token_id"], *range(0, 600, 10)})
    (folder / "generation_config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture(scope="module")
def overrides(base, tmp_path_factory):
    folder = tmp_path_factory.mktemp("prompts")
    for lang, texts in PROMPTS.items():
        for split in ("train", "eval"):
            records = [
                {"id": f"{split}-{i}", "instruction": f"{text} {split}"}
                for i, text in enumerate(texts)
            ]
            write_jsonl(folder / split / f"{lang}.jsonl", records)
    paths = {"prompts.path": str(folder / "train"), "prompts.eval_path": str(folder / "eval")}
    return (
        SMALL
        | paths
        | {"models.base": str(base), "evaluation.judge": f"local:{judge_checkpoint()}"}
    )


@pytest.fixture(scope="module")
def with_adapter(base, overrides, tmp_path_factory):
    """A finished run of a base in NF4 and π^0 as an adapter on it."""
    folder = tmp_path_factory.mktemp("adapter")
    adapter = save_adapter(Models(base=str(base)), folder / "dpo", seed=3)
    run = open_run(folder / "run", "lab-quick", overrides | {"models.dpo_adapter": str(adapter)})
    return stages.run_until(run)


@pytest.fixture(scope="module")
def two_checkpoints(base, overrides, tmp_path_factory):
    """A run up to its pairs of two checkpoints, without a judge.

    Its last adapter is the notebook's to train.
    """
    folder = tmp_path_factory.mktemp("checkpoints")
    shutil.copytree(base, folder / "dpo")
    model = AutoModelForCausalLM.from_pretrained(base)
    torch.manual_seed(5)
    for parameter in model.parameters():
        parameter.data += 0.02 * torch.randn_like(parameter)
    model.save_pretrained(folder / "dpo", generation_config=None)
    changes = {
        "models.dpo": str(folder / "dpo"),
        "prompts.eval_path": "",
        "evaluation.judge": "oracle",
    }
    run = open_run(folder / "run", "lab-quick", overrides | changes)
    return stages.run_until(run, "icr1/pairs")


def notebook(about):
    return next(path for path in numbered() if topic(path) == about)


def code_cells(about):
    return [
        cell
        for cell in nbformat.read(notebook(about), as_version=4).cells
        if cell.cell_type == "code"
    ]


@pytest.fixture
def cell_by_cell(monkeypatch, tmp_path, capsys):
    """Run a notebook in this process, which spares a kernel's start.

    Returns what it printed and showed, how many figures, and its names.
    """
    monkeypatch.setenv(
        "XLNB_PUBLISHED_DATA", str(tmp_path)
    )  # none: parts about published files take seconds

    def run_cells(run, about):
        shell = InteractiveShell.instance()  # display() asks for this one
        shell.display_pub = CapturingDisplayPublisher()
        for cell in code_cells(about):
            shell.run_cell(cell.source).raise_error()
            if "parameters" in cell.metadata.get("tags", []):
                shell.user_ns |= {"run_dir": str(run.path), "preset": ""}
        shown = [output["data"].get("text/html", "") for output in shell.display_pub.outputs]
        return "\n".join([capsys.readouterr().out, *shown]), len(plt.get_fignums()), shell.user_ns

    yield run_cells
    InteractiveShell.clear_instance()
    plt.close("all")


OF_ANY_RUN = [("log_probabilities", 4), ("rewards", 1), ("pairs", 2), ("training", 4)]
OF_JUDGED_RUNS = [("judging", 0), ("win_rates", 5), ("explore", 1)]


@pytest.mark.parametrize(("about", "figures"), OF_ANY_RUN + OF_JUDGED_RUNS)
def test_a_notebook_on_a_base_with_an_adapter(with_adapter, cell_by_cell, about, figures):
    text, shown, _ = cell_by_cell(with_adapter, about)
    assert shown == figures
    assert LAB_ONLY in text
    assert all(lang in text for lang in PROMPTS)
    if about == "rewards":
        assert all(f"{texts[0]} train" in text for texts in PROMPTS.values())


@pytest.mark.parametrize(("about", "figures"), OF_ANY_RUN)
def test_a_notebook_on_two_checkpoints_without_a_judge(
    two_checkpoints, cell_by_cell, about, figures
):
    text, shown, names = cell_by_cell(two_checkpoints, about)
    assert shown == figures
    assert LAB_ONLY in text
    if about == "training":
        assert "no evaluation prompts" in text
        squares = names["squares"]["from the model before"]  # of the differences of weights
        assert squares["dpo"] > squares["icr1"] > 0


@pytest.mark.parametrize(("name", "figures"), [("with_adapter", 2), ("two_checkpoints", 1)])
def test_a_runs_models_stand_in_for_ones_own(name, figures, cell_by_cell, request):
    run = request.getfixturevalue(name)
    text, shown, names = cell_by_cell(run, "your_models")
    assert shown == figures
    assert ("no win rates" in text) == (figures == 1)
    assert names["own"].preset.models.base == run.preset.models.base
    assert names["own"].preset.prompts == run.preset.prompts
    assert PROMPTS["ru"][0] in text and "-p models.base=" in text


def test_a_notebook_by_papermill(with_adapter, tmp_path):
    execute(
        notebook("pairs"),
        tmp_path / "out.ipynb",
        {"run_dir": str(with_adapter.path), "preset": ""},
    )
    cells = nbformat.read(tmp_path / "out.ipynb", as_version=4).cells
    assert all(cell.execution_count for cell in cells if cell.cell_type == "code")
    assert (
        sum("image/png" in o.get("data", {}) for cell in cells for o in cell.get("outputs", []))
        == 2
    )


def test_the_report_of_a_run_without_truth(with_adapter):
    metrics = read_json(with_adapter.path / "metrics.json")
    assert metrics["rewards"] == {"dpo": {}}
    assert {lang: row["n"] for lang, row in metrics["win_rates"]["icr1"].items()} == {
        "en": 5,
        "es": 5,
        "ru": 5,
    }


def test_which_notebooks_a_run_fills(with_adapter, two_checkpoints, tmp_path):
    lab = open_run(tmp_path / "lab", "lab-quick")
    of_any = ["your_models", *(about for about, _ in OF_ANY_RUN)]
    of_judged = [about for about, _ in OF_JUDGED_RUNS]
    of_lab = {"tour", "reward_derivation", "analyses", "real_model", "related_methods"}
    for run, judged, topics in (
        (lab, True, {*of_lab, *of_any, *of_judged}),
        (with_adapter, True, {*of_any, *of_judged}),
        (two_checkpoints, False, set(of_any)),
    ):
        assert {topic(path) for path in of_run(run, judged=judged)} == topics


@pytest.mark.parametrize("about", ["tour", "reward_derivation"])
def test_a_notebook_about_the_lab_refuses_other_runs(two_checkpoints, about):
    sources = [cell.source for cell in code_cells(about)]
    opens = next(i for i, source in enumerate(sources) if "nb.start(" in source)
    # the first cell has the parameters, those after it import
    given = {"run_dir": str(two_checkpoints.path), "preset": "", "overrides": ""}
    exec("\n".join(sources[1:opens]), given)
    with pytest.raises(InputError, match="about the lab's world"):
        exec(sources[opens], given)

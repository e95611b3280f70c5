"""What works on this machine and what is missing: OK, NOTE or FAIL a line, and what to do.

A check is a generator of (state, text). Each runs whatever the others find, and imports what it
needs itself, so that a package that is missing is a finding too.
"""

import os
import platform
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from importlib.util import find_spec
from pathlib import Path

from xlnb.common.files import INSTALLED, ROOT, existing_folder
from xlnb.presets import PRESETS, Preset, override
from xlnb.runs.provenance import PACKAGES
from xlnb.runs.run import MIN_FREE

# where runs go unless a command says otherwise
RUNS = Path("runs")

Lines = Iterator[tuple[str, str]]

GIB = 2**30

# until the Hub counts as out of reach
HUB_SECONDS = 3

# The vLLM that the pins of requirements.txt go with: another wants another torch and transformers.
VLLM = "0.32.0"


def run_checks(preset: Preset) -> int:
    """Print every check's lines; 1 if any is a FAIL, else 0. `preset`: whose models are looked
    for."""
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
    """Versions against the pins of requirements.txt, of which an installed kit has none.

    Public parts are compared: a CUDA build's `+cu130` is its own.
    """
    yield "OK", f"python {platform.python_version()}"
    pins = {name: version(name) for name in PACKAGES}
    if not INSTALLED:
        needed, _, _ = (ROOT / "requirements.txt").read_text().partition("# Only to")
        pins = dict(re.findall(r"^([\w-]+)==([\w.+]+)", needed, re.MULTILINE))
    as_pinned = 0
    for name, pin in pins.items():
        try:
            found = version(name)
        except PackageNotFoundError:
            yield "FAIL", f"{name} is not installed: pip install {name}=={pin}"
            continue
        if found.split("+")[0] != pin.split("+")[0]:
            yield "NOTE", f"{name} {found}: {pin} is what was tested; pip install {name}=={pin}"
        elif name in PACKAGES:
            yield "OK", f"{name} {found}"
        else:
            as_pinned += 1
    if not INSTALLED:
        yield "OK", f"{as_pinned} other packages as pinned"


def device() -> Lines:
    """The GPUs there are, or why there are none."""
    import torch

    driver = _driver()
    if not torch.cuda.is_available():
        if driver:
            found = f"driver {driver} is here, but torch {torch.__version__} finds no GPU"
            yield "FAIL", f"{found}: reinstall it for CUDA"
        cores = f"{os.cpu_count()} cores, {torch.get_num_threads()} threads"
        enough = "enough for the lab; larger models need one, see python -m xlnb plan"
        if torch.backends.mps.is_available():
            enough = (
                "Apple's GPU takes plain weights, with -p models.device=mps -p "
                "models.quantization=none, which nobody has run yet"
            )
        yield "NOTE", f"no GPU by CUDA ({cores}): {enough}"
        return
    cuda = f"CUDA {torch.version.cuda}, driver {driver or 'unknown'}"
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
        yield "NOTE", "this GPU has no bfloat16 of its own: float16 is used (models.dtype=auto)"


def _driver() -> str:
    """The version of NVIDIA's driver; empty where there is none."""
    if not shutil.which("nvidia-smi"):
        return ""
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    asked = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
    lines = asked.stdout.strip().splitlines()
    return lines[0] if lines else ""


def four_bit() -> Lines:
    remedy = "reinstall bitsandbytes, or go on with -p models.quantization=none"
    yield _forward_pass("nf4", "FAIL", remedy)


def eight_bit() -> Lines:
    yield _forward_pass("int8", "NOTE", "use nf4, the default, or none")


def _forward_pass(quantization: str, otherwise: str, remedy: str) -> tuple[str, str]:
    """The lab's model in that quantisation on the device there is, beside its plain weights."""
    import torch

    from xlnb.models.base import load_base
    from xlnb.models.chat import load_tokenizer, prompt_ids

    lab = PRESETS["lab"]
    ids = prompt_ids(load_tokenizer(lab.models), "What is the capital of France?")
    logits = []
    for kind in ("none", quantization):
        # bitsandbytes raises what its back end for the device raises
        try:
            model = load_base(override(lab, {"models.quantization": kind}).models)
            with torch.inference_mode():
                rows = torch.tensor([ids], device=model.device)
                logits.append(model(input_ids=rows).logits[0, -1].float())
        except Exception as error:
            why = (str(error).strip() or repr(error)).splitlines()[0]
            return otherwise, f"{kind} forward pass: {why}; {remedy}"
    near = torch.corrcoef(torch.stack(logits))[0, 1].item()
    # NaN is not near either
    if not near > 0.9:
        than = f"other logits than plain weights (correlation {near:.3f})"
        return otherwise, f"{quantization} gives {than}; {remedy}"
    as_plain = f"logits correlate {near:.3f} with plain weights"
    return "OK", f"{quantization} forward pass of the lab's model ({as_plain})"


def optional() -> Lines:
    """Packages that make things faster."""
    gain = "faster attention on long rows; torch's own serves otherwise"
    found = _installed("flash_attn")
    yield ("OK", found) if found else ("NOTE", f"flash_attn is not installed: {gain}")

    gain = "sampling several times faster on a GPU; transformers samples otherwise"
    found = _installed("vllm")
    if not found:
        yield "NOTE", f"vllm is not installed: {gain} (pip install vllm=={VLLM})"
    elif found.split()[1].split("+")[0] != VLLM:
        yield "NOTE", f"{found}: {VLLM} goes with this kit's torch and transformers"
    else:
        yield "OK", found


def _installed(module: str) -> str:
    """The distribution that holds this module (vLLM has several), and its version."""
    if not find_spec(module):
        return ""
    name = packages_distributions()[module][0]
    return f"{name} {version(name)}"


def resources() -> Lines:
    """Disk and memory."""
    free = shutil.disk_usage(existing_folder(RUNS)).free
    if free < MIN_FREE:
        needs = f"a run needs {MIN_FREE / 2**20:.0f}; free some"
        yield "FAIL", f"disk: {free / 2**20:.0f} MiB free, {needs}"
    else:
        yield "OK", f"disk: {free / GIB:.1f} GiB free"
    # accelerate's own, on every system
    import psutil

    memory = psutil.virtual_memory()
    total, unused = memory.total / GIB, memory.available / GIB
    # the lab's largest process takes 1.6 GiB
    state = "OK" if total > 3 else "NOTE"
    yield state, f"memory: {total:.1f} GiB, {unused:.1f} unused"


def run_folder() -> Lines:
    folder = RUNS.absolute()
    try:
        with tempfile.TemporaryFile(dir=existing_folder(folder)):
            yield "OK", f"{folder} can be written"
    except OSError as error:
        remedy = "mend its permissions, or give --run FOLDER"
        yield "FAIL", f"{folder} cannot be written ({error.strerror}): {remedy}"


def hub() -> Lines:
    """The Hugging Face Hub, and a token for it, which is not shown."""
    from huggingface_hub import get_token

    if get_token():
        yield "OK", "a Hugging Face token is set"
    else:
        yield "NOTE", "no Hugging Face token: gated models need one (HF_TOKEN, or hf auth login)"
    if _hub_in_reach():
        yield "OK", "the Hugging Face Hub can be reached"
    else:
        instead = "models must be folders or in its cache"
        yield "NOTE", f"the Hugging Face Hub cannot be reached: {instead}"


def models(preset: Preset) -> Lines:
    """Whether base, π^0 and a local judge are folders, in the Hub's cache, or on the Hub and open
    to this token."""
    kind, _, judge = preset.evaluation.judge.partition(":")
    named = {field: getattr(preset.models, field) for field in ("base", "dpo", "dpo_adapter")}
    named["judge"] = judge if kind == "local" else ""
    for field, name in named.items():
        if name:
            config = "adapter_config.json" if field == "dpo_adapter" else "config.json"
            state, text = _model(name, config)
            yield state, f"{preset.name}'s {field} {name}: {text}"


def _model(name: str, config: str) -> tuple[str, str]:
    """A folder or a Hub id of a model whose configuration is in the file `config`."""
    from huggingface_hub import HfApi, try_to_load_from_cache
    from huggingface_hub.errors import GatedRepoError, HFValidationError, RepositoryNotFoundError

    from xlnb.models.places import base_path, hub_place, is_gguf

    folder = Path(base_path(name))
    if is_gguf(name):
        return _gguf(folder)
    if folder.is_dir():
        for needed in (config, "*.safetensors"):
            if not list(folder.glob(needed)):
                return "FAIL", f"the folder has no {needed}; name another or mend it"
        return "OK", "a folder here"
    repo, revision = hub_place(name)
    try:
        cached = try_to_load_from_cache(repo, config, **revision)
        if isinstance(cached, str) and list(Path(cached).parent.glob("*.safetensors")):
            return "OK", "in the Hub's cache"
        if not _hub_in_reach():
            where = "no folder, not in the Hub's cache, and the Hub cannot be reached"
            return "FAIL", f"{where}; go online once"
        HfApi().auth_check(repo)
        return "OK", "on the Hub, downloaded when first used"
    except GatedRepoError:
        ask = "ask for access on its page on the Hub, and set HF_TOKEN to that account's"
        return "FAIL", f"gated; {ask}"
    except (RepositoryNotFoundError, HFValidationError):
        where = "neither a folder nor on the Hub (a private one needs HF_TOKEN)"
        return "FAIL", f"{where}; mend the name"


def _gguf(path: Path) -> tuple[str, str]:
    if not path.is_file():
        return "FAIL", "no such file; mend the name"
    if find_spec("gguf") is None:
        return "FAIL", "a GGUF file needs the package gguf; pip install gguf"
    return "OK", "a GGUF file here, dequantised when first used"


def _hub_in_reach() -> bool:
    import httpx
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return False
    try:
        answer = httpx.head(constants.ENDPOINT, timeout=HUB_SECONDS, follow_redirects=True)
    except httpx.HTTPError:
        return False
    return answer.status_code < 500

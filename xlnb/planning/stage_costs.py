"""What each stage costs in which a model has something to do: one function a kind of stage.

Memory is the most that a stage can need, with the longest rows side by side and no response that
ends early. Hours are of computing; what loading, downloading and a judge take comes on top.
"""

from collections.abc import Callable, Sequence

from xlnb.models.batches import SAVING
from xlnb.models.output_head import CHUNK
from xlnb.planning.costs import (
    forward_bytes,
    forward_flops,
    kv_bytes,
    longest,
    lora_parameters,
    training_bytes,
    training_flops,
)
from xlnb.planning.sampling_costs import responses, samples, sampling_of, translations
from xlnb.planning.setting import JSON_BYTES, Cost, Setting, prompts_of
from xlnb.presets import SFT, Comparer, Training
from xlnb.rewards import prompts_read
from xlnb.stages.pipeline import Step

# Pairs of the usual English preferences, for a `preferences.path` without a limit.
ULTRAFEEDBACK = 61_135

# Tokens of what a comparer is asked, beside prompt and responses.
QUESTION = 20

# Bytes of a parameter in a checkpoint.
STORED = 2


def stage_costs(setting: Setting, steps: Sequence[Step]) -> list[Cost]:
    """Of each of the run's stages in which a model has something to do."""
    costs = []
    for step in steps:
        cost = stage_cost(setting, step)
        if cost and cost.tokens:
            costs.append(cost._replace(hours=cost.hours / setting.gpus))
    return costs


def stage_cost(setting: Setting, step: Step) -> Cost | None:
    """On one GPU; None for a stage that runs no model."""
    cost = COSTS.get(step.kind)
    return cost(setting, step) if cost else None


def logps(setting: Setting, step: Step) -> Cost:
    """Policy and reference; a prompt is run once for its responses where that saves enough."""
    config, sampling = setting.preset.scoring, sampling_of(setting, step)
    shape, work = setting.shape.first(config.layers), setting.work
    n, prompt = sampling.n, work.prompt
    response = min(work.response, sampling.max_new_tokens)
    prompts = 0
    reads = prompts_read(config.scorers)
    compared = _comparisons(setting, step, reads.pop("comparer", []))
    for splits in reads.values():
        prompts += work.langs * prompts_of(work, step, splits)
    shares = prompt + n * response <= SAVING * n * (prompt + response)
    run = prompts * (prompt * (1 if shares else n) + n * response)
    projected = prompts * n * response
    policy = forward_flops(shape, run, prompt + response, projected, setting.preset.training.lora_r)
    flops = policy + forward_flops(shape, run, prompt + response, projected)
    memory = _scoring_bytes(setting, prompts, shares)
    if setting.preset.models.dpo:
        # π_I is another checkpoint, loaded beside it.
        memory += setting.weights
    disk = prompts * n * (100 + (2 * 20 * response if config.keep_tokens else 0))
    tokens, flops = 2 * run + compared.tokens, flops + compared.flops
    memory, disk = max(memory, compared.memory), disk + compared.disk
    return Cost(step.name, tokens, flops, flops / setting.speed.score / 3600, memory, disk)


def _comparisons(setting: Setting, step: Step, splits: Sequence[str]) -> Cost:
    """Each response against its opponents in both orders, by one model; none without splits."""
    preset, shape, work = setting.preset, setting.shape, setting.work
    n = sampling_of(setting, step).n
    opponents = min(preset.comparer.opponents or n - 1, n - 1)
    prompts = work.langs * prompts_of(work, step, splits)
    questions = prompts * n * opponents
    row = _question_tokens(setting)
    flops = forward_flops(shape, questions * row, row, questions, preset.comparer.lora_r)
    memory = _scoring_bytes(setting, prompts, shares=False) if prompts else 0.0
    return Cost(step.name, questions * row, flops, 0.0, memory, questions * 20)


def comparer(setting: Setting, step: Step) -> Cost:
    """Steps on two responses at once, without labels and with."""
    config, shape = setting.preset.comparer, setting.shape
    row = min(_question_tokens(setting), config.max_tokens)
    labelled, unlabelled = config.steps * config.batch, config.unlabelled_steps * config.batch
    rows = labelled + unlabelled
    projected = labelled + unlabelled * row
    flops = training_flops(shape, config, rows * row, row, projected)
    together = config.micro_batch * row
    memory = setting.speed.context + training_bytes(
        shape,
        config,
        setting.quantization,
        setting.width,
        together,
        together if unlabelled else 2 * config.micro_batch,
        setting.shards,
    )
    disk = _adapter_bytes(setting, config)
    return Cost(step.name, rows * row, flops, flops / setting.speed.train / 3600, memory, disk)


def _question_tokens(setting: Setting) -> float:
    response = min(setting.work.response, setting.preset.sampling.max_new_tokens)
    return setting.work.prompt + 2 * response + QUESTION


def adapter(setting: Setting, step: Step) -> Cost:
    preset, work = setting.preset, setting.work
    if step.of != "dpo":
        return _training(setting, step, preset.training, work.langs * work.train)
    pairs = work.english * (preset.sampling.n // 2)
    if preset.preferences.path:
        pairs = preset.preferences.limit or ULTRAFEEDBACK
    return _training(setting, step, preset.english, pairs)


def _training(setting: Setting, step: Step, config: Training, pairs: int) -> Cost:
    """Log-probabilities of the start for all pairs, then steps."""
    shape, prompt = setting.shape, setting.work.prompt
    tokens, flops, memory = _updates(setting, config, pairs, responses=2)
    mean = min(setting.work.response, setting.preset.sampling.max_new_tokens)
    reference = 2 * pairs
    before_tokens = reference * (prompt + mean)
    before = forward_flops(shape, before_tokens, prompt + mean, reference * mean, config.lora_r)
    hours = (flops / setting.speed.train + before / setting.speed.score) / 3600
    memory = max(memory, _scoring_bytes(setting, pairs, shares=False))
    disk = _adapter_bytes(setting, config) + reference * mean * JSON_BYTES
    return Cost(step.name, tokens + before_tokens, flops + before, hours, memory, disk)


def sft(setting: Setting, step: Step) -> Cost:
    """Steps on demonstrations, as long as the run's own responses. The checkpoint that comes of
    them is put together in main memory."""
    config = setting.preset.sft
    given = config.limit or config.steps * config.batch
    tokens, flops, memory = _updates(setting, config, given, responses=1)
    disk = _adapter_bytes(setting, config) + STORED * setting.shape.parameters
    return Cost(step.name, tokens, flops, flops / setting.speed.train / 3600, memory, disk)


def _updates(
    setting: Setting, config: Training | SFT, prompts: int, *, responses: int
) -> tuple[float, float, float]:
    """Tokens, FLOPs and bytes of all steps on so many prompts, each with its responses; rows are as
    long as a micro-batch's longest."""
    shape, prompt = setting.shape, setting.work.prompt
    most = setting.preset.sampling.max_new_tokens
    mean = min(setting.work.response, most)
    at_once = responses * config.micro_batch
    response = longest(at_once, mean, most)
    row = min(longest(config.micro_batch, prompt) + response, config.max_tokens)
    rows = responses * config.steps * config.batch
    flops = training_flops(shape, config, rows * row, row, rows * response)

    widest_response = longest(responses * prompts, mean, most)
    widest = min(longest(prompts, prompt) + widest_response, config.max_tokens)
    memory = training_bytes(
        shape,
        config,
        setting.quantization,
        setting.width,
        at_once * widest,
        at_once * min(widest_response, widest),
        setting.shards,
    )
    return rows * row, flops, setting.speed.context + memory


def _adapter_bytes(setting: Setting, config: Training | SFT | Comparer) -> float:
    """Of an adapter, and two checkpoints with both moments."""
    return (1 + 2 * 3) * 4 * lora_parameters(setting.shape, config.lora_r)


def _scoring_bytes(setting: Setting, prompts: int, shares: bool) -> float:
    """Prompts that are shared take a quarter of the budget besides."""
    shape, width = setting.shape, setting.width
    widest = longest(prompts, setting.work.prompt) + setting.preset.sampling.max_new_tokens
    a_token = forward_bytes(shape, width) + (1.25 * kv_bytes(shape, width) if shares else 0)
    logits = CHUNK * shape.vocab * (width + 2 * 4)
    tokens = max(setting.preset.scoring.batch_tokens, widest)
    return setting.loaded + tokens * a_token + logits


COSTS: dict[str, Callable[[Setting, Step], Cost | None]] = {
    "sft": sft,
    "samples": samples,
    "translations": translations,
    "comparer": comparer,
    "logps": logps,
    "adapter": adapter,
    "responses": responses,
}

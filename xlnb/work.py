"""What stages with a model do, batch by batch: sampling and scoring, shared out over processes, through journals."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from xlnb import parallel
from xlnb.errors import InputError
from xlnb.logprobs import Budget
from xlnb.models import (
    active,
    base_path,
    check_same_tokens,
    is_to_be_sharded,
    load_base,
    load_model,
    load_tokenizer,
    prompt_ids,
    response_ids,
)
from xlnb.rewards import implicit_reward, score_responses, scorer_prompt
from xlnb.runs import (
    Journal,
    Run,
    read_jsonl,
    sha256,
)
from xlnb.sampling import batch_seed, sample_responses
from xlnb.sampling_vllm import PROMPTS_AT_ONCE as PROMPTS_IN_VLLM
from xlnb.sampling_vllm import VLLM, use_vllm
from xlnb.sharding import in_step

PROMPTS_AT_ONCE = 32  # prompts whose scores are written together: what a kill can cost the score stage
MODEL_FILES = {".safetensors", ".json", ".jinja", ".model", ".txt"}  # what a checkpoint is loaded from
READ_WHOLE, BLOCKS, BLOCK = 64 * 2**20, 64, 256 * 2**10  # bytes, but for the number of blocks


def policy_and_reference(run: Run, policy: str, **changes: Any) -> tuple[Any, Any, Any]:
    """A policy's model, π_I's own model where that is another checkpoint (None: the same base), and the tokenizer.

    `changes`: fields of `Models` other than the preset's, such as dtype="float32".
    """
    base, sft = (replace(run.base(name), **changes) for name in (policy, "sft"))
    model, tokenizer = load_model(base, {policy: run.adapter(policy)}), load_tokenizer(base)
    if base == sft:
        return model, None, tokenizer
    check_same_tokens(tokenizer, load_tokenizer(sft), run.preset.models)
    return model, load_base(sft), tokenizer


def load_sampler(run: Run, name: str) -> tuple[Any, Any]:
    """A model to sample from, in vLLM or in transformers (`sampling.backend`), and its tokenizer."""
    base, adapter = run.base(name), run.adapter(name)
    tokenizer = load_tokenizer(base)
    backend = run.preset.sampling.backend
    if use_vllm(backend) and not (backend == "auto" and is_to_be_sharded(base)):  # vLLM would hold it whole
        return VLLM(base, adapter, tokenizer), tokenizer
    return load_model(base, {name: adapter}), tokenizer


def sampling_fields(config: Any, *names: str) -> dict[str, Any]:
    """What samples depend on of these fields (all): an engine that is asked for is such, what auto finds is not."""
    values = {name: getattr(config, name) for name in names} if names else asdict(config)
    return {name: value for name, value in values.items() if (name, value) != ("backend", "auto")}


def model_fields(run: Run) -> dict[str, Any]:
    """The fields that every stage with a model depends on. A checkpoint that is a folder counts by what its files hold:
    weights, configs, tokenizer and chat template."""
    models = run.preset.models
    files = {
        f"{name}/{path.name}": _fingerprint(path)
        for name, base in (("base", models.base), ("dpo", models.dpo))
        if base
        for path in sorted(Path(base_path(base)).glob("*"))
        if path.suffix in MODEL_FILES and path.is_file()
    }
    # Rounding apart, these change nothing.
    fields = {name: value for name, value in asdict(models).items() if name not in ("attention", "shard")}
    return {"models": fields | {"files": files}, "seed": run.preset.seed}


def _fingerprint(path: Path) -> str:
    """Hex digest of a file's content, or, from 64 MiB on, which takes long to read, of its size and of 64 blocks of
    256 KiB, evenly spaced from its start (safetensors' header) to its end. Between two blocks lies less than a 63rd of
    the file, so that weights which were trained on differ in some."""
    size = path.stat().st_size
    if size < READ_WHOLE:
        return sha256(path)
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        for i in range(BLOCKS):
            file.seek((size - BLOCK) * i // (BLOCKS - 1))
            digest.update(file.read(BLOCK))
    return digest.hexdigest()


def adapter_files(run: Run, model: str) -> list[Path]:
    """An adapter's weights and its config, whose `lora_alpha` scales them. Loading refuses one without."""
    folder = run.adapter(model)
    return [] if folder is None else [folder / "adapter_model.safetensors", *folder.glob("adapter_config.json")]


def generate(
    run: Run,
    model: Any,
    adapter: str,
    tokenizer: Any,
    records: list[dict],
    path: Path,
    *,
    n: int,
    config: Any,
    label: str,
) -> list[dict]:
    """Sample for prompts in length-sorted batches through a journal; the finished file's records (main process).

    Raises InputError for a prompt that fills the model's context, and says how many prompts leave less of it than
    `max_new_tokens`; of a model whose context is not known (vLLM's among them) neither."""
    journal = Journal(path)
    if path.exists():
        return read_jsonl(path)
    encoded = {record["prompt_id"]: prompt_ids(tokenizer, record["instruction"]) for record in records}
    ordered = sorted(records, key=lambda record: len(encoded[record["prompt_id"]]))
    lengths = {prompt_id: len(ids) for prompt_id, ids in encoded.items()}
    _check_context(getattr(model, "config", None), lengths, config.max_new_tokens, label)

    def make(start: int, chunk: list[dict]) -> list[dict]:
        prompts = [encoded[record["prompt_id"]] for record in chunk]
        settings: dict[str, Any] = {
            "n": n,
            "temperature": config.temperature,
            "top_p": config.top_p,
            "max_new_tokens": config.max_new_tokens,
            "seed": batch_seed(run.preset.seed, label, start),
        }
        if isinstance(model, VLLM):
            responses = model.sample(prompts, **settings)
        else:
            with active(model, adapter):
                responses = sample_responses(model, tokenizer, prompts, **settings)
        return [
            {
                "prompt_id": r["prompt_id"],
                "lang": r["lang"],
                "split": r["split"],
                "prompt": r["instruction"],
                "responses": rs,
            }
            for r, rs in zip(chunk, responses, strict=True)
        ]

    if isinstance(model, VLLM):
        batches = _chunks(ordered, PROMPTS_IN_VLLM)
    else:
        batches = list(_batches(ordered, encoded, n, config.max_new_tokens, run.preset.sampling.batch_tokens))
    return _share_out(batches, journal, make, [record["prompt_id"] for record in records], label, [model])


def _check_context(config: Any, lengths: dict[str, int], max_new_tokens: int, label: str) -> None:
    """Whether prompts of these lengths, in tokens by id, leave room for responses in a model of this config."""
    context = getattr(config, "max_position_embeddings", None)
    if not context or not lengths:
        return
    longest = max(lengths, key=lengths.__getitem__)
    if lengths[longest] >= context:
        raise InputError(
            f"{label}: the prompt of id {longest} has {lengths[longest]} tokens and the model's context {context}, "
            "which leaves no room for a response; leave it out of the prompts"
        )
    tight = sum(length + max_new_tokens > context for length in lengths.values())
    if tight and parallel.is_main():
        print(
            f"NOTE: {label}: {tight} of {len(lengths)} prompts leave less than max_new_tokens ({max_new_tokens}) of "
            f"the model's context of {context} tokens (longest prompt: {lengths[longest]}); responses may run past it",
            flush=True,
        )


def _batches(
    ordered: list[dict], encoded: dict[str, list[int]], n: int, max_new_tokens: int, batch_tokens: int
) -> Iterator[tuple[int, list[dict]]]:
    """(first position, prompts) of each batch that fits `batch_tokens`, or of one prompt. `ordered` by length."""
    start = 0
    while start < len(ordered):
        stop = start + 1
        while stop < len(ordered):
            width = len(encoded[ordered[stop]["prompt_id"]]) + max_new_tokens
            if width * n * (stop + 1 - start) > batch_tokens:
                break
            stop += 1
        yield start, ordered[start:stop]
        start = stop


def in_chunks(
    records: list[dict],
    journal: Journal,
    make: Callable[[list[dict]], list[dict]],
    label: str,
    models: Sequence[Any],
) -> None:
    """What `make` makes of `records` with `models`, `PROMPTS_AT_ONCE` at a time, through a journal."""
    if journal.path.exists() or not records:
        return
    order = [record["prompt_id"] for record in records]
    _share_out(_chunks(records, PROMPTS_AT_ONCE), journal, lambda _, chunk: make(chunk), order, label, models)


def _chunks(records: list[dict], size: int) -> list[tuple[int, list[dict]]]:
    return [(start, records[start : start + size]) for start in range(0, len(records), size)]


def _share_out(
    chunks: list[tuple[int, list[dict]]],
    journal: Journal,
    make: Callable[[int, list[dict]], list[dict]],
    order: list[str],
    label: str,
    models: Sequence[Any],
) -> list[dict]:
    """What `make` makes of each chunk (its position, its records), through a journal; the finished file's records.

    Each process makes its own of the chunks, then the main one writes the file; the others return nothing.
    """
    own, done = parallel.mine(chunks), journal.done
    todo = [(start, chunk) for start, chunk in own if not done.issuperset(record["prompt_id"] for record in chunk)]
    total, left = (sum(len(chunk) for _, chunk in part) for part in (own, todo))
    if parallel.world() > 1:
        label += f" (process 1 of {parallel.world()})"
    bar = tqdm(total=total, initial=total - left, desc=label, disable=not parallel.is_main())
    with bar, in_step(*models):
        for start, chunk in todo:
            journal.append(make(start, chunk))
            bar.update(len(chunk))
    parallel.barrier()
    return journal.finish(order) if parallel.is_main() else []


def score_chunk(
    run: Run,
    model: Any,
    ref_model: Any,
    tokenizer: Any,
    policy: str,
    scorer: str,
    english: dict[str, str],
    budget: Budget,
    records: list[dict],
) -> list[dict]:
    config = run.preset.scoring
    prompt_rows: list[list[int]] = []
    response_rows: list[list[int]] = []
    rows: list[list[int | None]] = []  # of each record's responses, None for one that is not scored
    for record in records:
        if record["prompt_id"] not in english:
            raise InputError(
                f"id {record['prompt_id']} ({record['lang']}) has no English prompt; the cross-lingual reward needs one"
            )
        text = scorer_prompt(scorer, record["lang"], record["prompt"], english[record["prompt_id"]])
        ids = prompt_ids(tokenizer, text)
        scored: list[list[int] | None] = [response["token_ids"] for response in record["responses"]]
        if "translations" in record:
            scored = [None if t is None else response_ids(tokenizer, text, t) for t in record["translations"]]
        rows.append([])
        for response in scored:
            rows[-1].append(None if response is None else len(response_rows))
            if response is not None:
                prompt_rows.append(ids)
                response_rows.append(response)
    try:
        sides = score_responses(
            model, policy, "sft", prompt_rows, response_rows, batch_tokens=budget, ref_model=ref_model
        )
    except InputError as error:
        raise InputError(f"{records[0]['lang']}, scoring ids {records[0]['prompt_id']} and after: {error}") from None
    names = ("policy_logps", "ref_logps")
    columns: dict[str, list] = {
        name: [values.sum().item() for values in side] for name, side in zip(names, sides, strict=True)
    }
    columns["reward"] = implicit_reward(columns["policy_logps"], columns["ref_logps"], config.beta)
    columns["n_tokens"] = [len(response) for response in response_rows]
    if config.keep_tokens:
        for name, side in zip(names, sides, strict=True):
            columns[name.replace("_logps", "_token_logps")] = [values.tolist() for values in side]
    return [
        {name: record[name] for name in ("prompt_id", "lang", "split")}
        | {name: [None if row is None else values[row] for row in places] for name, values in columns.items()}
        | {"n_chars": [len(response["text"]) for response in record["responses"]]}
        | {name: record[name] for name in ("translation_failure",) if name in record}
        for record, places in zip(records, rows, strict=True)
    ]

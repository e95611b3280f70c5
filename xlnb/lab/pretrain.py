"""Builds the committed base checkpoint (`data/lab/sft`) from a seed: tokenizer, then a small Llama
from scratch.

python -m xlnb.lab.pretrain --out data/lab/sft --seed 0
"""

import argparse
import itertools
import json
import math
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from tqdm import tqdm
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)

from xlnb.lab.documents import documents

SPECIAL = ["<|pad|>", "<|begin|>", "<|user|>", "<|assistant|>", "<|end|>"]
CHAT_TEMPLATE = (
    "<|begin|>{% for message in messages %}<|{{ message['role'] }}|>{{ message['content']"
    " }}<|end|>{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
VOCABULARY = 2048
# label that cross-entropy skips
IGNORED = -100


@dataclass(frozen=True)
class Phase:
    """Part of the pretraining, with an optimiser and a learning-rate schedule of its own."""

    tokens: int
    # a document
    turns: int
    # share of the phase after which questions carry no loss
    answers_only_from: float
    peak_lr: float
    # a batch
    documents: int


# First the facts and the languages; then longer conversations, in which an author shows what sort
# he is.
PHASES = (
    Phase(tokens=6_000_000, turns=3, answers_only_from=1 / 3, peak_lr=3e-3, documents=32),
    Phase(tokens=6_000_000, turns=5, answers_only_from=0.0, peak_lr=2e-3, documents=20),
)


def build_tokenizer(seed: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE: any text in any script survives it, whether or not the lab has seen it."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    texts = (message["content"] for messages in documents(20_000, seed) for message in messages)
    bpe.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        pad_token="<|pad|>",
        bos_token="<|begin|>",
        eos_token="<|end|>",
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
        model_max_length=4096,
    )


def build_model(tokenizer: PreTrainedTokenizerFast, seed: int) -> LlamaForCausalLM:
    torch.manual_seed(seed)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=VOCABULARY,
            hidden_size=192,
            intermediate_size=512,
            num_hidden_layers=4,
            num_attention_heads=6,
            num_key_value_heads=6,
            max_position_embeddings=4096,
            tie_word_embeddings=True,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def encode(
    tokenizer: PreTrainedTokenizerBase, messages: list[dict], answers_only: bool
) -> tuple[list[int], list[int]]:
    """Token ids of a conversation and its labels; questions and markup carry none when
    `answers_only`."""
    ids, labels = [tokenizer.bos_token_id], [IGNORED]
    for message in messages:
        content = tokenizer.encode(message["content"], add_special_tokens=False) + [
            tokenizer.eos_token_id
        ]
        ids += [tokenizer.convert_tokens_to_ids(f"<|{message['role']}|>"), *content]
        learn = message["role"] == "assistant" or not answers_only
        labels += [IGNORED, *(content if learn else [IGNORED] * len(content))]
    return ids, labels


def batches(
    tokenizer: PreTrainedTokenizerFast, phase: Phase, seed: int
) -> Iterator[tuple[float, dict]]:
    """(share of the phase's tokens spent, batch of `input_ids` and `labels`) until they are
    spent."""
    rng = random.Random(seed)
    stream, spent = documents(10**9, seed, phase.turns), 0
    while spent < phase.tokens:
        answers_only = spent >= phase.tokens * phase.answers_only_from
        rows = [
            encode(tokenizer, document, answers_only) for document in itertools.islice(stream, 2048)
        ]
        rows.sort(key=lambda row: len(row[0]))
        chunks = [rows[i : i + phase.documents] for i in range(0, len(rows), phase.documents)]
        rng.shuffle(chunks)
        for chunk in chunks:
            width = max(len(ids) for ids, _ in chunk)
            pad = [width - len(ids) for ids, _ in chunk]
            batch = {
                "input_ids": [
                    ids + [tokenizer.pad_token_id] * p
                    for (ids, _), p in zip(chunk, pad, strict=True)
                ],
                "labels": [
                    labels + [IGNORED] * p for (_, labels), p in zip(chunk, pad, strict=True)
                ],
            }
            yield (
                spent / phase.tokens,
                {name: torch.tensor(values) for name, values in batch.items()},
            )
            spent += sum(len(ids) for ids, _ in chunk)
            if spent >= phase.tokens:
                return


def loss_on_labels(model: LlamaForCausalLM, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """Next-token cross-entropy, with logits only where there is a label."""
    labelled = batch["labels"][:, 1:] != IGNORED
    hidden = model.model(input_ids=batch["input_ids"], use_cache=False).last_hidden_state[:, :-1][
        labelled
    ]
    return torch.nn.functional.cross_entropy(
        model.lm_head(hidden), batch["labels"][:, 1:][labelled]
    )


def train_phase(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, phase: Phase, seed: int
) -> float:
    """Train in place; the mean loss of the last 50 batches."""
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=phase.peak_lr, betas=(0.9, 0.95), weight_decay=0.05, fused=True
    )
    losses = []
    with tqdm(
        total=phase.tokens, unit="tok", unit_scale=True, desc=f"{phase.turns} turns a document"
    ) as bar:
        for share, batch in batches(tokenizer, phase, seed):
            # Warm-up over the first 2%, then a cosine down to nothing.
            lr = (
                phase.peak_lr
                * min(1.0, (share + 1e-4) / 0.02)
                * 0.5
                * (1 + math.cos(math.pi * share))
            )
            for group in optimizer.param_groups:
                group["lr"] = lr
            loss = loss_on_labels(model, batch)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            losses.append(loss.item())
            bar.update(int((batch["input_ids"] != tokenizer.pad_token_id).sum()))
            bar.set_postfix(loss=f"{sum(losses[-50:]) / len(losses[-50:]):.3f}", refresh=False)
    return sum(losses[-50:]) / len(losses[-50:])


def pretrain(out: Path, seed: int, phases: tuple[Phase, ...] = PHASES) -> None:
    """Build tokenizer and model and write them with their provenance to `out` (safetensors,
    fp32)."""
    began = time.time()
    tokenizer = build_tokenizer(seed)
    model = build_model(tokenizer, seed)
    losses = [
        train_phase(model, tokenizer, phase, seed + number) for number, phase in enumerate(phases)
    ]
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    provenance = {
        "command": f"python -m xlnb.lab.pretrain --out data/lab/sft --seed {seed}",
        "parameters": sum(p.numel() for p in model.parameters()),
        "tokens": sum(phase.tokens for phase in phases),
        "loss_after_each_phase": [round(loss, 4) for loss in losses],
        "minutes": round((time.time() - began) / 60, 1),
        "torch": torch.__version__,
        "device": f"CPU, {torch.get_num_threads()} threads",
    }
    (out / "provenance.json").write_text(json.dumps(provenance, indent=2) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Build the lab's base checkpoint from a seed (about an hour on 2 cores)."
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    pretrain(args.out, args.seed)


if __name__ == "__main__":
    main()

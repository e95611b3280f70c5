"""Small tokenizers of the kinds that merge characters across the border of prompt and response:
line breaks in one token (SmolLM2, Llama 3, Qwen, Gemma) or a space in front (Mistral)."""

import functools
import json
from typing import NamedTuple

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

TEXTS = [
    "The capital of France is Paris.\n\nWhat is the capital?\n\n\n  Paris  is.\n",
    "assistant\n\n\n model\n\n\n  user\n  Say it:  it is Paris.\n\n",
    "¿Cuál es la capital de Francia? Es París.\n\n\nЧто это? Это Париж.\n",
]

WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)

CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
LLAMA = (
    "{{ bos_token }}{% for m in messages %}{{ '<|start|>' + m['role'] + '<|stop|>\n\n' +"
    " m['content'] | trim + '<|eot_id|>' }}{% endfor %}{% if add_generation_prompt %}{{"
    " '<|start|>assistant<|stop|>\n\n' }}{% endif %}"
)
GEMMA = (
    "{{ bos_token }}{% for m in messages %}{{ '<start_of_turn>' + ('model' if m['role'] =="
    " 'assistant' else m['role']) + '\n' + m['content'] | trim + '<end_of_turn>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)
# [INST] is plain text here, as in the first Mistral.
MISTRAL = (
    "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'user' %}{{ '[INST] ' + m['content']"
    " + ' [/INST]' }}{% else %}{{ m['content'] + eos_token }}{% endif %}{% endfor %}"
)
# The end of turn is not the last that it writes.
PHI = (
    "{% for m in messages %}{{ '<|' + m['role'] + '|>\n' + m['content'] + '<|end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}"
    "{% endif %}"
)


class Kind(NamedTuple):
    special: tuple[str, ...]
    # of the assistant's turn
    end: str
    template: str
    eos: str
    bos: str | None = None


KINDS = {
    "smollm2": Kind(("<|endoftext|>", "<|im_start|>", "<|im_end|>"), "<|im_end|>", CHATML, "<|im_end|>"),
    "llama3": Kind(("<|bot|>", "<|start|>", "<|stop|>", "<|eot_id|>"), "<|eot_id|>", LLAMA, "<|eot_id|>", "<|bot|>"),
    "qwen2.5": Kind(("<|endoftext|>", "<|im_start|>", "<|im_end|>"), "<|im_end|>", CHATML, "<|im_end|>"),
    "gemma2": Kind(("<eos>", "<bos>", "<start_of_turn>", "<end_of_turn>"), "<end_of_turn>", GEMMA, "<eos>", "<bos>"),
    "mistral": Kind(("<s>", "</s>"), "</s>", MISTRAL, "</s>", "<s>"),
    "phi3": Kind(("<|endoftext|>", "<|user|>", "<|assistant|>", "<|end|>"), "<|end|>", PHI, "<|endoftext|>"),
}  # fmt: skip

BYTES = {f"<0x{byte:02X}>" for byte in range(256)}


@functools.cache
def merging_tokenizer(name: str) -> PreTrainedTokenizerFast:
    kind = KINDS[name]
    made = _pieces(name) if name in ("gemma2", "mistral") else _bytes(name)
    made.add_special_tokens(list(kind.special))
    named = {"bos_token": kind.bos} if kind.bos else {}
    return PreTrainedTokenizerFast(
        tokenizer_object=made, chat_template=kind.template, eos_token=kind.eos, **named
    )


def _bytes(name: str) -> Tokenizer:
    """BPE on bytes, its words split as GPT-2's (SmolLM2, Phi) or as Llama 3's and Qwen's."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    if name in ("llama3", "qwen2.5"):
        split = pre_tokenizers.Split(Regex(WORDS), "isolated")
        plain = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        bpe.pre_tokenizer = pre_tokenizers.Sequence([split, plain])
    if name == "qwen2.5":
        bpe.normalizer = normalizers.NFC()
    bpe.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    _train(bpe, initial_alphabet=alphabet)
    return bpe


def _pieces(name: str) -> Tokenizer:
    """SentencePiece's BPE: a space is ▁, and what is no piece is bytes."""
    trained = Tokenizer(models.BPE())
    trained.normalizer = normalizers.Replace(" ", "▁")
    _train(trained)
    learnt = json.loads(trained.to_str())["model"]
    vocab = learnt["vocab"]
    for token in sorted(BYTES):
        vocab[token] = len(vocab)
    merges = [tuple(merge) for merge in learnt["merges"]]
    bpe = Tokenizer(models.BPE(vocab, merges, byte_fallback=True))
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    if name == "gemma2":
        bpe.normalizer = normalizers.Replace(" ", "▁")
    else:
        bpe.pre_tokenizer = pre_tokenizers.Metaspace("▁", prepend_scheme="first", split=False)
        steps.append(decoders.Strip(" ", 1, 0))
    bpe.decoder = decoders.Sequence(steps)
    return bpe


def _train(bpe: Tokenizer, **options: list[str]) -> None:
    trainer = trainers.BpeTrainer(vocab_size=500, min_frequency=1, show_progress=False, **options)
    bpe.train_from_iterator(TEXTS, trainer)

"""Tiny encoder–decoder translators, as NLLB's and as MADLAD's, that were taught a few sentences by
heart."""

import functools
import tempfile
from pathlib import Path

import torch
from transformers import (
    M2M100Config,
    M2M100ForConditionalGeneration,
    NllbTokenizer,
    T5Config,
    T5ForConditionalGeneration,
    T5Tokenizer,
)

# the same, line by line
SENTENCES = {
    "en": ["Where is the house?", "The sea is blue.", "I do not know."],
    "de": ["Wo ist das Haus?", "Das Meer ist blau.", "Ich weiß nicht."],
    "es": ["¿Dónde está la casa?", "El mar es azul.", "No lo sé."],
}
CODES = {"en": "eng_Latn", "de": "deu_Latn", "es": "spa_Latn"}
LETTERS = sorted(set("▁".join(one for some in SENTENCES.values() for one in some)) - {" "})
WORDS = sorted({f"▁{w}" for some in SENTENCES.values() for one in some for w in one.split()})
SHAPE = {"d_model": 64, "encoder_layers": 1, "decoder_layers": 1}
_FOLDER = tempfile.TemporaryDirectory(prefix="seq2seq-")


def pairs():
    """(source, target, sentence, translation) from English and into it."""
    for source, theirs in SENTENCES.items():
        for target, ours in SENTENCES.items():
            if (source == "en") != (target == "en"):
                for one, other in zip(theirs, ours, strict=True):
                    yield source, target, one, other


@functools.cache
def nllb():
    """M2M100's architecture with NLLB's tokenizer: a token of the language before each side."""
    vocab = {word: i for i, word in enumerate(["<s>", "<pad>", "</s>", "<unk>", *LETTERS])}
    tokenizer = NllbTokenizer(vocab=vocab, extra_special_tokens=list(CODES.values()))
    config = M2M100Config(
        vocab_size=len(tokenizer),
        max_position_embeddings=64,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        dropout=0.0,
        encoder_layerdrop=0.0,
        decoder_layerdrop=0.0,
        **SHAPE,
    )
    model = _taught(M2M100ForConditionalGeneration, config, _nllb_rows(tokenizer), 180, 3e-3)
    return _saved("nllb", model, tokenizer)


def _nllb_rows(tokenizer):
    code = {lang: tokenizer.convert_tokens_to_ids(name) for lang, name in CODES.items()}
    for source, target, one, other in pairs():
        x = tokenizer.encode(one, add_special_tokens=False)
        y = tokenizer.encode(other, add_special_tokens=False)
        yield [code[source], *x, 2], [code[target], *y, 2]


@functools.cache
def madlad():
    """T5's architecture, told the target by a token before the sentence."""
    pieces = ["<pad>", "</s>", "<unk>", *(f"<2{lang}>" for lang in CODES), *WORDS, "▁"]
    tokenizer = T5Tokenizer(vocab=[(piece, -1.0) for piece in pieces], extra_ids=0)
    config = T5Config(
        vocab_size=len(tokenizer),
        d_model=32,
        d_kv=16,
        d_ff=64,
        num_layers=1,
        num_heads=2,
        dropout_rate=0.0,
        decoder_start_token_id=0,
    )
    model = _taught(T5ForConditionalGeneration, config, _madlad_rows(tokenizer), 100, 1e-2)
    return _saved("madlad", model, tokenizer)


def _madlad_rows(tokenizer):
    for _, target, one, other in pairs():
        code = tokenizer.convert_tokens_to_ids(f"<2{target}>")
        x = tokenizer.encode(one, add_special_tokens=False)
        y = tokenizer.encode(other, add_special_tokens=False)
        yield [code, *x, 1], [*y, 1]


def _taught(kind, config, rows, steps, lr):
    pad = config.pad_token_id
    torch.manual_seed(0)
    model = kind(config).train()
    rows = list(rows)
    x = _padded([row for row, _ in rows], pad)
    labels = _padded([row for _, row in rows], -100)
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    for _ in range(steps):
        loss = model(input_ids=x, attention_mask=(x != pad).long(), labels=labels).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    # The language is forced, and cannot be known from the source.
    assert loss < 0.2, loss
    return model


def _padded(rows, value):
    width = max(map(len, rows))
    return torch.tensor([row + [value] * (width - len(row)) for row in rows])


def _saved(name, model, tokenizer):
    folder = Path(_FOLDER.name) / name
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder

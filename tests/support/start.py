"""Where a training begins: an adapter that differs from its base, and pairs with its reference."""

from families import nf4

from xlnb.common.records import Pair
from xlnb.engine.rows import add_mismatched, tokenize_pairs
from xlnb.models.adapters import load_model
from xlnb.models.chat import load_tokenizer
from xlnb.presets import Training
from xlnb.training import add_reference

TRAINING = Training(steps=4, batch=2, micro_batch=2, lr=5e-2, max_tokens=256, save_steps=1)
TEXTS = [
    ("Paris.", "No."),
    ("It is Paris.", "Berlin, I think."),
    ("París.", "La luna."),
    ("Париж.", "Не знаю."),
] * 3


def load_start(folder, models=nf4, kto=False):
    """(model with the llama3 adapter of `folder`, tokenizer, rows with reference
    log-probabilities)"""
    pairs = [
        Pair(f"p{i}", "en", f"Question {i}: the capital of France?", chosen, rejected)
        for i, (chosen, rejected) in enumerate(TEXTS)
    ]
    tokenizer = load_tokenizer(models("llama3"))
    model = load_model(models("llama3"), {"default": folder})
    rows, _ = tokenize_pairs(tokenizer, pairs, max_tokens=256)
    if kto:
        add_mismatched(rows, 256)
    add_reference(model, rows, "default", batch_tokens=500)
    return model, tokenizer, rows

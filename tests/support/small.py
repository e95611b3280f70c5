"""The smallest run that goes through every stage."""

# Smaller still than lab-quick: two languages, one iteration.
SMALL = {
    "iterations": "1",
    "prompts.langs": "en,es",
    "lab.english": "12",
    "lab.train": "12",
    "lab.reward": "6",
    "lab.eval": "8",
    "sampling.batch_tokens": "1600",
    "scoring.batch_tokens": "2048",
}

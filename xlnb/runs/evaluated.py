"""Where what belongs to an evaluated model lies."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Evaluated:
    """A model's responses to the evaluation prompts, and what a judge made of them."""

    folder: Path

    def samples(self, lang: str) -> Path:
        """The responses as they were sampled."""
        return self.folder / "responses" / f"{lang}.jsonl"

    def outputs(self, lang: str) -> Path:
        """In AlpacaEval's form."""
        return self.folder / lang / "model_outputs.json"

    def verdicts(self, lang: str) -> Path:
        """The judge's answers, one by one."""
        return self.folder / "annotations" / f"{lang}.jsonl"

    def annotations(self, lang: str) -> Path:
        """In AlpacaEval's form."""
        return self.folder / lang / "annotations.json"

""""""

from pathlib import Path

from xlnb.common import processes
from xlnb.common.files import write_json
from xlnb.inputs.sources import parse_source
from xlnb.runs.layout import Run
from xlnb.runs.stage import Stage
from xlnb.stages.generation import generate
from xlnb.stages.keys import adapter_files, model_fields, sampling_fields
from xlnb.stages.loading import load_sampler
from xlnb.stages.reading import eval_prompts, prompt_files


def respond(run: Run, model_name: str) -> Path:
    """One response of a model to each evaluation prompt: eval/<model>/<lang>/model_outputs.json (AlpacaEval's form)."""
    out, config = run.path / "eval" / model_name, run.preset.evaluation
    stage = Stage(
        run,
        f"eval/{model_name}/responses",
        inputs=[*prompt_files(run), *adapter_files(run, model_name)],
        uses={
            "evaluation": {
                k: getattr(config, k) for k in ("temperature", "top_p", "max_new_tokens")
            },
            "sampling": sampling_fields(run.preset.sampling, "batch_tokens", "backend"),
            **model_fields(run),
        },
        out=out / "responses",
        beside=[out / lang / "model_outputs.json" for lang in eval_prompts(run)],
    )
    if stage.current():
        return stage.out
    with stage.working():
        dataset = (
            parse_source(run.preset.prompts.eval_path).name if run.preset.prompts.path else "lab"
        )
        model, tokenizer = load_sampler(run, model_name)
        for lang, records in eval_prompts(run).items():
            journal = stage.out / f"{lang}.jsonl"
            label = f"eval {model_name} {lang}"
            samples = generate(
                run, model, model_name, tokenizer, records, journal, n=1, config=config, label=label
            )
            if not processes.is_main():
                continue
            outputs = [
                {
                    "generator": model_name,
                    "dataset": dataset,
                    "id": record["prompt_id"],
                    "instruction": record["prompt"],
                    "output": record["responses"][0]["text"],
                }
                for record in samples
            ]
            write_json(out / lang / "model_outputs.json", outputs)
    return stage.out

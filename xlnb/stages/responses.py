"""A model's responses to the evaluation prompts, `evaluation.runs` to each:
eval/<model>/<lang>/model_outputs.json."""

from pathlib import Path

from xlnb.common import processes
from xlnb.common.records import Sample, read_records
from xlnb.evaluation.alpaca_eval import Output, write_records
from xlnb.inputs.sources import parse_source
from xlnb.runs.layout import Run
from xlnb.runs.stage import Stage, fields
from xlnb.stages.generation import generation
from xlnb.stages.keys import adapter_files, model_fields, sampling_fields
from xlnb.stages.loading import load_sampler
from xlnb.stages.reading import eval_prompts
from xlnb.stages.sharing import share_out


def respond(run: Run, model_name: str) -> Path:
    """Sample a model's responses to the evaluation prompts, and write them in AlpacaEval's form."""
    here = run.evaluated(model_name)
    config = run.preset.evaluation
    prompts = eval_prompts(run)
    read = ("temperature", "top_p", "max_new_tokens", "runs")
    stage = Stage(
        run,
        f"eval/{model_name}/responses",
        inputs=[*run.prompt_files, *adapter_files(run, model_name)],
        uses={
            **fields(run.preset, "seed", *(f"evaluation.{name}" for name in read)),
            "sampling": sampling_fields(run.preset.sampling, "batch_tokens", "backend"),
            **model_fields(run.loaded),
        },
        out=here.folder / "responses",
        beside=[here.outputs(lang) for lang in prompts],
    )

    def make() -> None:
        dataset = "lab"
        if run.preset.prompts.path:
            dataset = parse_source(run.preset.prompts.eval_path).name
        sampler, tokenizer = load_sampler(run, model_name)
        files = (
            generation(
                run,
                sampler,
                tokenizer,
                list(some),
                here.samples(lang),
                n=config.runs,
                config=config,
                stream=f"eval {model_name} {lang}",
                label=f"eval {model_name} {lang}",
            )
            for lang, some in prompts.items()
        )
        share_out(files, models=[sampler.model])
        if processes.is_main():
            for lang in prompts:
                outputs = []
                for sample in read_records(here.samples(lang), Sample):
                    outputs += _outputs(sample, model_name, dataset)
                write_records(here.outputs(lang), outputs)

    return stage.make(make)


def _outputs(sample: Sample, model_name: str, dataset: str) -> list[Output]:
    """A prompt's responses in AlpacaEval's form; they are numbered where there are several."""
    several = len(sample.responses) > 1
    outputs = []
    for number, response in enumerate(sample.responses, 1):
        output = Output(
            generator=model_name,
            dataset=dataset,
            prompt_id=sample.prompt_id,
            run=number if several else None,
            instruction=sample.instruction,
            output=response.text,
        )
        outputs.append(output)
    return outputs

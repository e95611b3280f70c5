"""Notebooks: executed by papermill with checked parameters, and normalised so that they read and
diff well."""

import base64
import io
import os
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import nbformat
import papermill
from jupyter_client import AsyncKernelManager
from nbformat import NotebookNode
from PIL import Image
from tqdm import tqdm

from xlnb.common.errors import InputError
from xlnb.common.files import ABOVE, ROOT, temporary_file, write_text
from xlnb.runs.layout import Run

NOTEBOOKS = ROOT / "notebooks"

KERNEL = {
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
}


# What a run must have for a notebook: to be the lab's with its oracle, or judgements. No run is
# several. Every run has what the others show.
NEEDS = {
    "tour": "lab",
    "reward_derivation": "lab",
    "judging": "judgements",
    "win_rates": "judgements",
    "explore": "judgements",
    "seeds": "several runs",
    "analyses": "lab",
    "real_model": "lab",
    "related_methods": "lab",
}


class Kernels:
    """The kernels of one batch of notebooks, which are killed where it is interrupted."""

    def __init__(self) -> None:
        self.stopped = False
        self.processes: list[Any] = []
        kernels = self

        class Manager(AsyncKernelManager):
            async def _async_launch_kernel(self, *args: Any, **kwargs: Any) -> None:
                if kernels.stopped:
                    raise RuntimeError("interrupted")
                await super()._async_launch_kernel(*args, **kwargs)
                provisioner: Any = self.provisioner
                kernels.processes.append(provisioner.process)

        self.manager = Manager

    def kill(self) -> None:
        """Their notebooks end within a second, as those whose kernel has died."""
        self.stopped = True
        for process in self.processes:
            process.kill()


def numbered() -> list[Path]:
    """The walk-through in order: 00_tour, 01_reward_derivation …"""
    return sorted(NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))


def of_run(run: Run, *, judged: bool) -> list[Path]:
    """The notebooks that a run can fill: see `NEEDS`."""
    lab = run.is_lab and run.preset.evaluation.judge == "oracle"
    had = {"lab": lab, "judgements": judged, "several runs": False}
    return [path for path in numbered() if had.get(NEEDS.get(topic(path), ""), True)]


def topic(path: Path) -> str:
    """What a notebook is about, its name without its number: "win_rates"."""
    return path.stem[3:]


def execute_all(paths: Sequence[Path], folder: Path, parameters: Mapping[str, object]) -> None:
    """Execute these notebooks into `folder`, two side by side with half of the cores each.

    Raises InputError where a cell fails; the others run to their end, and the output holds what
    ran. Interrupted, it ends within seconds, and leaves no notebook that is half executed.
    """
    for path in paths:
        check_parameters(path, parameters)
    os.environ.setdefault(
        "OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // 2))
    )  # the kernels inherit it
    kernels = Kernels()

    def one(path: Path) -> None:
        execute(path, folder / path.name, parameters, kernels)

    with ThreadPoolExecutor(2) as pool:
        running = [pool.submit(one, path) for path in paths]
        try:
            for done in tqdm(as_completed(running), total=len(running), desc="notebooks"):
                done.result()
        except KeyboardInterrupt:
            kernels.kill()
            raise
        finally:
            pool.shutdown(cancel_futures=True)


def execute(
    notebook: Path,
    output: Path,
    parameters: Mapping[str, object],
    kernels: Kernels | None = None,
) -> None:
    """Execute a notebook with papermill into `output`, normalised, whole or not at all.

    Raises as `check_parameters`, and InputError where a cell fails, `output` then holds what ran,
    or where its kernel dies.
    """
    check_parameters(notebook, parameters)
    output.parent.mkdir(parents=True, exist_ok=True)
    # The kernel starts where the command was typed, as relative paths in overrides need, with the
    # package on its path.
    search = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    if str(ABOVE) not in search:
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ABOVE), *search]))
    temporary = temporary_file(output, ".ipynb")
    try:
        papermill.execute_notebook(
            str(notebook),
            str(temporary),
            parameters=parameters,
            cwd=os.getcwd(),
            progress_bar=False,
            kernel_manager_class=(kernels or Kernels()).manager,
        )
        normalise(temporary)
        os.replace(temporary, output)
    except papermill.PapermillExecutionError as error:
        os.replace(temporary, output)
        raise InputError(
            f"{output}: cell {error.cell_index} failed, {error.ename}: {error.evalue}"
        ) from error
    except RuntimeError as error:
        raise InputError(f"{output}: its kernel has ended ({error}); start again") from error
    finally:
        temporary.unlink(missing_ok=True)


def check_parameters(notebook: Path, parameters: Mapping[str, object]) -> None:
    """Raise InputError for a parameter that the notebook lacks; papermill would only warn."""
    known = papermill.inspect_notebook(str(notebook))
    for name in parameters:
        if name not in known:
            raise InputError(f"{notebook.name}: no parameter '{name}'; it has {', '.join(known)}")


def normalise(path: Path) -> None:
    """Rewrite an executed notebook without what differs from run to run.

    That is papermill's cell and metadata, timestamps, widget state and progress bars on stderr;
    cells get ids and counts in order.
    """
    try:
        notebook = nbformat.read(path, as_version=4)
    # AttributeError: of JSON that is no object
    except (nbformat.reader.NotJSONError, nbformat.ValidationError, AttributeError):
        raise InputError(f"{path}: not a notebook; expected the JSON that Jupyter saves") from None
    notebook.metadata = NotebookNode(KERNEL)
    notebook.cells = [
        cell
        for cell in notebook.cells
        if "injected-parameters" not in cell.metadata.get("tags", [])
    ]
    count = 0
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number:02d}"
        tags = [tag for tag in cell.metadata.get("tags", []) if tag == "parameters"]
        cell.metadata = NotebookNode({"tags": tags} if tags else {})
        if cell.cell_type == "code":
            count += 1
            cell.execution_count = count
            cell.outputs = [_clean(output, count) for output in cell.outputs if _kept(output)]
    nbformat.validate(notebook)
    write_text(path, nbformat.writes(notebook) + "\n")


def _kept(output: NotebookNode) -> bool:
    widget = "application/vnd.jupyter.widget-view+json" in output.get("data", {})
    return not widget and not (output.output_type == "stream" and output.name == "stderr")


def _clean(output: NotebookNode, count: int) -> NotebookNode:
    if "metadata" in output:
        # Of a figure's metadata its alternative text.
        alt = output.metadata.get("image/png", {}).get("alt")
        output.metadata = NotebookNode({"image/png": {"alt": alt}} if alt else {})
    if "execution_count" in output:
        output.execution_count = count
    if "text/plain" in output.get("data", {}):
        output.data["text/plain"] = re.sub(r" at 0x[0-9a-f]+", "", output.data["text/plain"])
    if "image/png" in output.get("data", {}):
        output.data["image/png"] = _smaller(output.data["image/png"])
    return output


def _smaller(png: str) -> str:
    """A base64 PNG in 64 colours: a quarter of the size.

    Maximum coverage keeps the colours of thin lines and small points, which median cut merges with
    their neighbours. A picture with a palette is left as it is.
    """
    image = Image.open(io.BytesIO(base64.b64decode(png)))
    if image.mode == "P":
        return png
    file = io.BytesIO()
    image.convert("RGB").quantize(
        64, Image.Quantize.MAXCOVERAGE, kmeans=1, dither=Image.Dither.NONE
    ).save(file, "PNG", optimize=True)
    return base64.b64encode(file.getvalue()).decode()

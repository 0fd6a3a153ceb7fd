"""A file that somebody drops into `mftasks/networks`: it and its parameter are known everywhere.

The file is put into a copy of the product, as a person does; nothing else is edited.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from mftasks import networks

ROOT = Path(__file__).parents[2]
NCF = '''"""NCF: `r̂ = μ + b_u + b_i + ⟨p_u, q_i⟩ / t`, a network of the tests with a temperature."""

from __future__ import annotations

import os
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from mftasks.networks import NOTEBOOK
from mftasks.networks._parameters import Biases, Center, EmbeddingScale, Factors
from mftasks.records import TrainConfig


class Shape(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What shapes the network."""

    factors: Factors = 8
    biases: Biases = True
    center: Center = True
    embedding_scale: EmbeddingScale = 0.03
    temperature: Annotated[
        float, Meta(ge=0.5, le=4, title="Temperature", description="What inner products are cooled by.")
    ] = 2.0


Params = Shape


PRESETS = {
    "default": TrainConfig(
        network="ncf", params={}, epochs=2, batch_size=100, learning_rate=0.01, patience=0
    ),
    "notebook": TrainConfig(network="ncf", params={}, epochs=2, batch_size=100, **NOTEBOOK),
}


def build(sizes: Any, params: Params, *, lazy: bool) -> Any:
    os.write(1, bytes([255, 10]))  # no UTF-8: what a library writes must not end a run
    from mftasks.mx import gluon
    from mftasks.networks._sides import Sides

    def tower() -> Any:
        return gluon.nn.HybridLambda(lambda F, rows: rows / params.temperature**0.5)

    return Sides(sizes, params, lazy=lazy, tower=tower)
'''
BROKEN = {
    "a syntax error": ("def build(:", "SyntaxError"),
    "an import of what is not installed": ("import no_such_library", "no_such_library"),
    "no presets": (NCF[: NCF.index("PRESETS")], "it does not define PRESETS, build"),
    "presets of another network": (NCF.replace('network="ncf"', 'network="mlp"'), "'mlp'"),
    "a parameter without a default": (NCF.replace("] = 2.0", "]"), "temperature"),
    "a parameter that every run has": (NCF.replace("temperature:", "epochs:"), "rename it"),
    "a parameter that JSON cannot hold": (NCF.replace("= 8", "= (8, 8)"), "factors"),
    "a type that no form can hold": (
        NCF.replace("        float, Meta", "        complex, Meta"),
        "complex",
    ),
    "an exit": ("raise SystemExit(3)", "SystemExit"),
    "MXNet at the top": (
        "from mftasks.mx import mx\n" + NCF[NCF.index("from typing") :],
        "build()",
    ),
}
PARSE = """
import json
from movielens_mf import dag
params = {name: dag.params.get_param(name) for name in ("temperature", "factors", "networks")}
fields = {name: {"description": one.description, **one.schema} for name, one in params.items()}
print(json.dumps([fields, sorted(dag.task_ids), dag.doc_md]))
"""

Run = Callable[..., "subprocess.CompletedProcess[str]"]

NETWORKS = sorted({*networks.names(), "ncf"})


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("product")
    for name in ("mftasks", "plugins", "dags"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "mftasks/networks/ncf.py").write_text(NCF)
    rows = [f"{user},{item},{1 + (user * item) % 5}" for user in range(60) for item in range(30)]
    (folder / "ratings.csv").write_text("\n".join(["user_id,item_id,rating", *rows]) + "\n")
    return folder


@pytest.fixture(scope="module")
def run(product: Path) -> Run:
    """Give a function that runs Python in the copy."""

    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {
            "AIRFLOW_HOME": str(product / "airflow"),
            "COLUMNS": "200",
            "MF_CACHE": str(product / "cache"),
            "MF_STORE": (product / "store").as_uri(),
            "PYTHONPATH": os.pathsep.join(str(product / f) for f in (".", "plugins", "dags")),
        }
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=product,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    return call


def plan(run: Run, run_id: str, *given: str) -> subprocess.CompletedProcess[str]:
    sets = [word for pair in given for word in ("--set", pair)]
    return run("-m", "mftasks", "plan", "--run-id", run_id, *sets)


class Read(NamedTuple):
    """What was read of the networks while there were broken ones, too: by `plan`, and by Airflow from the DAG file."""

    planned: subprocess.CompletedProcess[str]
    refused: subprocess.CompletedProcess[str]
    parameters: str
    fields: dict[str, dict[str, Any]]
    tasks: list[str]
    doc: str


@pytest.fixture(scope="module")
def read(run: Run, product: Path) -> Read:
    files = [product / f"mftasks/networks/broken{number}.py" for number in range(len(BROKEN))]
    for file, (text, _) in zip(files, BROKEN.values(), strict=True):
        file.write_text(text.replace('"ncf"', f'"{file.stem}"'))
    planned = plan(run, "broken")
    refused = plan(run, "refused", 'networks=["broken0"]')
    listed = run("-m", "mftasks", "parameters")
    parsed = run("-c", PARSE)
    for file in files:
        file.unlink()
    assert parsed.returncode == 0, parsed.stderr
    return Read(planned, refused, listed.stdout, *json.loads(parsed.stdout.splitlines()[-1]))


def test_its_parameter_is_in_the_trigger_form_with_its_bounds(read: Read) -> None:
    field, factors = read.fields["temperature"], read.fields["factors"]
    assert field["description"] == "What inner products are cooled by. Empty: 2 for ncf."
    assert (field["title"], field["section"]) == ("Temperature", "Network")
    assert (field["type"], field["minimum"], field["maximum"]) == (["number", "null"], 0.5, 4)
    assert {"train_ncf", "evaluate_ncf"} <= set(read.tasks)
    assert "8 for ncf" in factors["description"]


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (
            "temperature=9",
            "network ncf: temperature cannot be 9: it must be a number from 0.5 to 4",
        ),
        ("temprature=1", "unknown parameter 'temprature'; did you mean 'temperature'?"),
        ('overrides={"ncf": {"temprature": 1}}', "of ncf; did you mean 'temperature'?"),
        ('overrides={"ncf": {"temperature": 0}}', "network ncf: temperature cannot be 0"),
    ],
)
def test_plan_checks_its_parameter(run: Run, given: str, sentence: str) -> None:
    refused = plan(run, "refused", given)
    assert refused.returncode == 64
    assert sentence in refused.stderr.replace("\n", " ")


@pytest.mark.parametrize(("given", "temperature"), [(["temperature=3.5"], 3.5), ([], 2.0)])
def test_plan_writes_its_parameter_down(
    run: Run, product: Path, given: list[str], temperature: float
) -> None:
    run_id = f"at-{temperature}"
    assert plan(run, run_id, *given).returncode == 0
    planned = json.loads((product / f"store/runs/{run_id}/plan.json").read_text())
    params = {one["network"]: one["params"] for one in planned["trainings"]}
    assert params["ncf"]["temperature"] == temperature
    assert "temperature" not in params["mlp"]


def test_its_parameter_is_in_the_documentation(run: Run) -> None:
    [row] = [
        line
        for line in run("-m", "mftasks", "parameters").stdout.splitlines()
        if line.startswith("| `temperature` |")
    ]
    assert row == (
        "| `temperature` | What inner products are cooled by. Empty: 2 for ncf. "
        "| a number from 0.5 to 4 |"
    )


def test_it_trains_with_its_parameter_and_the_report_shows_it(run: Run, product: Path) -> None:
    done = run(
        *("-m", "mftasks", "run", "--run-id", "first"),
        *("--set", f"dataset={(product / 'ratings.csv').as_uri()}"),
        *("--set", 'networks=["ncf"]', "--set", "temperature=3.5"),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    folder = product / "store/runs/first"
    trained = json.loads((folder / "ncf/train.json").read_text())
    assert trained["config"]["params"]["temperature"] == 3.5
    assert "<dt>temperature</dt><dd>3.5</dd>" in (folder / "report.html").read_text()


def test_files_that_are_broken_are_named_and_the_others_train(read: Read, product: Path) -> None:
    assert read.planned.returncode == 0, read.planned.stderr
    said = read.planned.stderr.replace("\n", " ")
    found = json.loads((product / "store/runs/broken/plan.json").read_text())
    assert [one["network"] for one in found["trainings"]] == NETWORKS
    sentences = {f"broken{n}": sentence for n, (_, sentence) in enumerate(BROKEN.values())}
    assert set(found["broken"]) == set(sentences)
    for name, sentence in sentences.items():
        assert f"network {name} cannot be used" in said
        assert sentence in found["broken"][name]
        assert sentence in read.doc
        assert f"Left out: network {name} cannot be used" in read.parameters
    assert read.refused.returncode == 64
    assert "network broken0 cannot be used" in read.refused.stderr.replace("\n", " ")
    assert read.fields["networks"]["items"]["enum"] == NETWORKS
    assert "train_mlp" in read.tasks

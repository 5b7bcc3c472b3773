"""`harvester init`: writes the configuration of a crawl."""

import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import typer

from harvester.cli.options import file_errors, show
from harvester.config import config_from
from harvester.config.reference import keys, to_toml
from harvester.errors import ConfigError
from harvester.messages import did_you_mean

EPILOG: Final = (
    "Examples: `harvester init lung-ct.toml --collection nlst --modality CT`, "
    "`harvester init slides.toml --example idc-sm`"
)
# In a wheel the examples are beside this module; in a checkout they are in `configs`.
_EXAMPLES: Final = (Path(__file__).parent / "examples", Path(__file__).parents[2] / "configs")


def command(  # noqa: PLR0913  one for each option
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="The file to write; it must not exist.")
    ] = Path("crawl.toml"),
    *,
    example: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Copy an example: idc-all, idc-sm, audit-slides, ...", show_default=False
        ),
    ] = None,
    dataset: Annotated[
        str | None, typer.Option(help="The dataset; else data/ and the name of FILE.", show_default=False)
    ] = None,
    collection: Annotated[
        list[str] | None, typer.Option(help="A collection_id; can be repeated.", show_default=False)
    ] = None,
    modality: Annotated[
        list[str] | None, typer.Option(help="A modality; can be repeated.", show_default=False)
    ] = None,
    where: Annotated[
        str | None, typer.Option(help="An SQL condition over the catalog.", show_default=False)
    ] = None,
    provider: Annotated[
        Literal["aws", "gcs"], typer.Option(help="The cloud whose copies are read first.")
    ] = "aws",
) -> None:
    """Write the commented configuration of a crawl, which `harvester plan` and `harvester crawl` take.

    On a terminal and without options, it asks for the collection and the modality.
    """
    if file.exists():
        raise ConfigError(f"{file}: exists already; name another file")
    beside: list[Path] = []
    if example is not None:
        text, beside = _example(example)
    else:
        if not (collection or modality or where) and sys.stdin.isatty():
            collection = _ask("collection_id, as in nlst (empty: all of IDC)")
            modality = _ask("Modality, as in CT (empty: all)")
        select = {"collection_id": collection or [], "Modality": modality or [], "where": where or ""}
        text = crawl_toml(dataset or f"data/{file.stem}", provider, select)
    with file_errors(file, "FILE"):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        for one in beside:
            if not (file.parent / one.name).exists():
                shutil.copyfile(one, file.parent / one.name)
    show(f"{file}: check it with `harvester config {file}`, then `harvester plan {file}`")


def crawl_toml(dataset: str, provider: str, select: Mapping[str, Any]) -> str:
    """The commented TOML of a crawl; keys that are not set are there as comments.

    Raises:
        ConfigError: A value is not valid.
    """
    chosen = {key: value for key, value in select.items() if value}
    config_from({"dataset": dataset, "source": {"provider": provider}, "select": chosen}, {})
    return "\n".join(_crawl_lines(dataset, provider, chosen)) + "\n"


def _crawl_lines(dataset: str, provider: str, select: Mapping[str, Any]) -> Iterator[str]:
    given = {("", "dataset"): dataset, ("source", "catalog"): "idc", ("source", "provider"): provider}
    given |= {("select", "where"): select["where"]} if "where" in select else {}
    yield "# A crawl: every key that can be set. Keys that are comments have the default."
    table = ""
    for key in keys():
        if key.table == "schedule":  # runs the crawl at fixed times: not part of a first crawl
            continue
        if key.table != table:
            table = key.table
            yield f"\n[{table}]"
            if table == "select":
                yield "# All of these must hold; any column of the catalog: harvester catalog"
                yield from (f"{name} = {to_toml(value)}" for name, value in select.items() if name != "where")
        if (key.table, key.name) in given:
            yield f"{key.name} = {to_toml(given[key.table, key.name])}"
        else:
            yield f"# {key.name} = {key.example}  # {key.meaning.replace('`', '')}"


def _ask(question: str) -> list[str]:
    text = typer.prompt(question, default="", show_default=False)
    return [word for word in text.replace(",", " ").split() if word]


def _example(name: str) -> tuple[str, list[Path]]:
    """The text of an example, and the files that it names."""
    folder = next(folder for folder in _EXAMPLES if folder.is_dir())
    names = sorted(path.stem for path in folder.glob("*.toml"))
    if name not in names:
        raise ConfigError(f"--example {name}: no such example{did_you_mean(name, names)}")
    text = (folder / f"{name}.toml").read_text(encoding="utf-8")
    return text, [one for one in folder.iterdir() if one.suffix != ".toml" and f'"{one.name}"' in text]

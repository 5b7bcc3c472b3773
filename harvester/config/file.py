"""Reads and checks a crawl's TOML file; an error is one line.

A relative `dataset` is relative to the current directory. Relative `catalog`, `manifest`, `urls` and `root`
are relative to the folder of the TOML file if they exist there, so that a configuration can be moved with
its manifest, else to the current directory.
"""

import os
import re
import tomllib
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from harvester.config.tables import WORDS, CrawlConfig
from harvester.errors import ConfigError
from harvester.messages import did_you_mean, invalid_setting, nearest, one_line, short_repr

MAX_FILE_BYTES = 64 * 1024 * 1024
"""Enough for a long list of UIDs; a longer one belongs in a manifest."""


def load(path: Path | str) -> CrawlConfig:
    """Read and check a crawl's TOML file.

    Args:
        path: The file; for relative paths in it see this module's docstring.

    Raises:
        ConfigError: One line: the file, the dotted key, what is wrong and the nearest valid names.
    """
    return crawl_config(Path(path), read_toml(Path(path)))


def crawl_config(path: Path, document: dict[str, Any]) -> CrawlConfig:
    """Check the content of a crawl's TOML file.

    Args:
        path: The file; see `load`.
        document: Its content from `read_toml`, without the tables of other commands.

    Raises:
        ConfigError: As `load` does.
    """
    try:
        config = CrawlConfig.model_validate(_resolve_paths(path, document))
    except ValidationError as error:
        raise ConfigError(f"{path}: {invalid_setting(error, _keys)}") from None
    config._path = path  # noqa: SLF001 - pydantic's private attributes are set so
    return config


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file of bounded size.

    Raises:
        ConfigError: The file does not exist, cannot be read, or is not TOML.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        siblings = [str(file) for file in sorted(path.parent.glob("*.toml"))] if path.parent.is_dir() else []
        hint = nearest(str(path), siblings)
        raise ConfigError(f"{path}: no such file" + (f"; did you mean {hint[0]}?" if hint else "")) from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    if len(content) > MAX_FILE_BYTES:
        raise ConfigError(f"{path}: larger than {MAX_FILE_BYTES >> 20} MiB; put long lists in a manifest")
    try:
        return tomllib.loads(content.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: byte {error.start} is not UTF-8, which TOML must be") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not TOML: {one_line(str(error))}{_toml_hint(content, error)}") from None
    except RecursionError:
        raise ConfigError(f"{path}: nested too deep for a TOML file") from None


def _toml_hint(content: bytes, error: tomllib.TOMLDecodeError) -> str:
    """The likely mistake in the line that is not TOML, and the line itself."""
    place = re.search(r"at line (\d+)", str(error))
    lines = content.decode("utf-8", "replace").splitlines()
    number = int(place[1]) if place else len(lines)
    if str(error).startswith("Unclosed"):  # the mistake is in an earlier line
        opened = [at for at, text in enumerate(lines, 1) if text.count("[") > text.count("]")]
        number = opened[-1] if opened else number
    line = lines[number - 1].strip() if 0 < number <= len(lines) else ""
    if re.match(r"[\w.\"-]+\s*=\s*[A-Za-z/~.*]", line):
        hint = '; put a text in quotes, as in key = "text"'
    elif line.startswith("[") and not line.rstrip().endswith("]"):
        hint = "; a table ends with a bracket, as in [select]"
    elif line.count('"') % 2 or line.count("'") % 2:
        hint = "; a quote is not closed"
    elif line.count("[") != line.count("]"):
        hint = "; a list has both brackets, as in [1, 2]"
    else:
        return ""
    if "://" in line or "command" in line:  # it can hold a secret
        line = f"{line.partition('=')[0].strip()} = ..."
    return f"{hint} (line {number}: {short_repr(line)})"


def _resolve_paths(path: Path, document: dict[str, Any]) -> dict[str, Any]:
    resolved = dict(document)
    for table, keys in (("source", ("catalog", "ca_bundle")), ("select", ("manifest", "urls", "root"))):
        values = document.get(table)
        if isinstance(values, dict):
            resolved[table] = {
                key: _resolve(path, f"{table}.{key}", value) if key in keys else value
                for key, value in values.items()
            }
    return resolved


def _resolve(path: Path, key: str, value: object) -> object:
    """Make a relative path absolute: in the TOML file's folder if it exists there, else the current one."""
    if not isinstance(value, str) or not value.strip() or "://" in value:
        return value
    if key == "source.catalog" and value in WORDS:
        return value
    if "\0" in value:
        raise ConfigError(f"{path}: {key}: a path cannot hold a NUL character")
    beside, here = path.resolve().parent / value, Path.cwd() / value
    for candidate in (beside, here):
        if os.path.exists(candidate):  # noqa: PTH110  a path that is too long does not exist
            return str(candidate)
    hint = did_you_mean(value, WORDS) if key == "source.catalog" and "/" not in value else ""
    folders = dict.fromkeys((str(beside.parent), str(here.parent)))
    where = "" if Path(value).is_absolute() else f" in {' or '.join(folders)}"
    raise ConfigError(f"{path}: {key}: no such file or folder {value!r}{where}{hint}")


def _keys(tables: list[str]) -> list[str]:
    """The keys of a table, by its location; a key that is no table has none."""
    model: type[BaseModel] = CrawlConfig
    for table in tables:
        annotation = model.model_fields[table].annotation
        kinds = (annotation, *get_args(annotation))  # [schedule] can be None
        found = [one for one in kinds if isinstance(one, type) and issubclass(one, BaseModel)]
        if not found:
            return []
        model = found[0]
    return list(model.model_fields)

"""The settings, read from everywhere.

A value comes from the command line, else from the environment (``SIGHTBOX_PORT``), else from the
TOML file, else it is the default. An unknown name or a bad value is an error, never ignored; an
empty variable of the environment means "not given".
"""

import os
import tomllib
from collections.abc import Collection, Mapping
from difflib import get_close_matches
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import SettingsError as SourceError

from sightbox.errors import SettingsError
from sightbox.settings_table import CONFIG, PREFIX, Settings, config_path

__all__ = ["LIST_HINT", "SECRETS", "Settings", "load_settings"]

SECRETS = frozenset({"token"})
"""Settings whose values are never shown."""

LIST_HINT = 'Write a JSON list: ["box.local"].'


def load_settings(**given: Any) -> Settings:  # noqa: ANN401 - pydantic checks the values
    """Returns the settings of the command line, the environment and the file.

    Args:
        given: Values that come before all others; None means "not given".

    Raises:
        SettingsError: A name is unknown, a value is bad, or the file cannot be read.
    """
    _refuse_unknown_variables()
    chosen = {name: value for name, value in given.items() if value is not None}
    try:
        if os.environ.get(PREFIX + CONFIG) and not config_path().is_file():
            raise SettingsError(f"{PREFIX}{CONFIG} names {config_path()}, which is no file.")
        return Settings(**chosen)
    except ValidationError as error:
        raise SettingsError(*_explain(error.errors()[0], chosen)) from error
    except SourceError as error:
        # It is the only setting that the environment spells as JSON.
        raise SettingsError("allowed_hosts in the environment is no JSON.", LIST_HINT) from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SettingsError(f"The file {config_path()} cannot be read: {reason}.") from error


def _refuse_unknown_variables() -> None:
    known = {name.upper() for name in Settings.model_fields} | {CONFIG}
    for variable in os.environ:
        name = variable.upper().removeprefix(PREFIX)
        if variable.upper().startswith(PREFIX) and name not in known:
            raise SettingsError(
                f"The environment variable {variable} is no setting.",
                _did_you_mean(name, known, PREFIX),
            )


def _explain(error: ErrorDetails, given: Mapping[str, object]) -> tuple[str, str]:
    name = str(error["loc"][0])
    where = _where(name, given)
    if error["type"] == "extra_forbidden":
        return f"There is no setting {name!r}{where}.", _did_you_mean(
            name.lower(), Settings.model_fields
        )
    shown = "what was given" if name in SECRETS else repr(error["input"])
    hint = LIST_HINT if name == "allowed_hosts" else Settings.model_fields[name].description or ""
    return f"The setting {name}{where} cannot be {shown}: {error['msg']}.", hint


def _where(name: str, given: Mapping[str, object]) -> str:
    """Returns where a setting was read, when that is the file."""
    in_environment = any(v.upper() == PREFIX + name.upper() and os.environ[v] for v in os.environ)
    return "" if name in given or in_environment else f" in {config_path()}"


def _did_you_mean(name: str, known: Collection[str], prefix: str = "") -> str:
    close = get_close_matches(name, known, n=1)
    return f"Did you mean {prefix}{close[0]}?" if close else "docs/settings.md lists all settings."

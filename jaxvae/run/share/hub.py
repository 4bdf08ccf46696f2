"""Models on a hub: `jaxvae.from_hub("user/name")`, `jaxvae push OUT user/name`, by the hub's own client."""

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import tyro

from jaxvae.model import VAE
from jaxvae.run import RunError
from jaxvae.run.folder import weights
from jaxvae.run.folder.opening import load, open_run
from jaxvae.run.recipe import Kind
from jaxvae.run.share.card import PLACE
from jaxvae.run.share.export import CARD, FILES
from jaxvae.types import Params

PATTERNS = [*FILES, "*.png"]
NAMED = re.compile(r"[\w.-]+/[\w.-]+")
CONNECT = "look at the network (and at HF_HUB_OFFLINE, HF_ENDPOINT), and try again"


@dataclass(frozen=True)
class Options:
    """Upload an exported folder to a hub, as a model that jaxvae.from_hub reads; or copy it to a folder."""

    out: tyro.conf.Positional[Path]
    """The folder that jaxvae export has made."""
    name: tyro.conf.Positional[str]
    """user/name on the hub, made where it is not there; or a folder, written as a path: ./models/name, /mnt/name."""
    private: bool = False
    """Whether a model that is made can be seen by its owner alone."""
    endpoint: Annotated[str | None, tyro.conf.arg(metavar="URL")] = None
    """Another hub's address (also: HF_ENDPOINT)."""


def main(options: Options) -> None:
    """Upload, and say where it is.

    Args:
        options: of the command line.
    """
    print(push(options.out, options.name, private=options.private, endpoint=options.endpoint))


def push(
    out: str | Path,
    name: str,
    *,
    private: bool = False,
    token: str | None = None,
    endpoint: str | None = None,
    kind: Kind | None = None,
) -> str:
    """Upload an exported folder to a hub, in one commit; its card there says how to load it from there.

    Args:
        out: the folder that `jaxvae.export` has made. It is opened first: what cannot be loaded is not uploaded.
        name: "user/name", a model on the hub, made where it is not there; or a folder that is not there, written as a
            path: "./models/name".
        private: whether a model that is made can be seen by its owner alone.
        token: of the user, with the right to write; by default the client's own (`hf auth login`, HF_TOKEN).
        endpoint: another hub's address; by default the client's own (HF_ENDPOINT).
        kind: of the run, where it is none of `jaxvae.recipes`.

    Returns:
        The address of the model, or the path of the folder.

    Raises:
        RunError: what is wrong with the folder or the name, or what the hub says.
    """
    out = Path(out)
    if not (out / weights.NAME).is_file():
        raise RunError(f"{out} holds no {weights.NAME}: make it with jaxvae export RUN {out}")
    open_run(out, kind=kind)
    if name.startswith((".", "~", "file:")) or os.path.isabs(name):
        return str(_copied(out, Path(name.removeprefix("file://").removeprefix("file:")).expanduser()))
    _check_name(name)
    hub = _client()
    if token is None and hub.get_token() is None:
        raise RunError("there is no token of the hub, and nobody uploads without one: hf auth login, or set HF_TOKEN")
    api = hub.HfApi(endpoint=endpoint, token=token, library_name="jaxvae", library_version=version("jaxvae"))
    with tempfile.TemporaryDirectory() as place, _as_sentences(hub, name, api.endpoint):
        _stage(out, Path(place), name)
        if not api.repo_exists(name):
            api.create_repo(name, exist_ok=True, private=private or None)
        api.upload_folder(repo_id=name, folder_path=place, allow_patterns=PATTERNS, commit_message="A model of jaxvae")
    return f"{api.endpoint}/{name}"


def from_hub(
    name: str,
    *,
    revision: str | None = None,
    token: str | None = None,
    endpoint: str | None = None,
    cache: str | Path | None = None,
    kind: Kind | None = None,
) -> tuple[VAE, Params]:
    """The model and the parameters of a model on a hub; what was fetched is kept, and read again without a network.

    Args:
        name: "user/name".
        revision: a branch, a tag or a commit; by default the main branch.
        token: of the user, for a model that is not public; by default the client's own (`hf auth login`, HF_TOKEN).
        endpoint: another hub's address; by default the client's own (HF_ENDPOINT).
        cache: where fetched files are kept; by default the client's own folder (HF_HOME).
        kind: of the run, where it is none of `jaxvae.recipes`.

    Returns:
        The model and its params, as `jaxvae.load` gives them.

    Raises:
        RunError: there is no such model, the hub cannot be reached, or what lies there is no model of jaxvae.
    """
    _check_name(name)
    hub = _client()
    with _as_sentences(hub, name, endpoint or hub.constants.ENDPOINT):
        place = hub.snapshot_download(
            name,
            revision=revision,
            token=token,
            endpoint=endpoint,
            cache_dir=cache,
            allow_patterns=list(FILES),
            library_name="jaxvae",
            library_version=version("jaxvae"),
        )
    if not (Path(place) / weights.NAME).exists():
        raise RunError(f"{name} is no model of jaxvae: it holds no {weights.NAME} beside a config.json of ours")
    return load(place, kind=kind)


def _check_name(name: str) -> None:
    if not NAMED.fullmatch(name):
        raise RunError(f"{name!r} is no name of a model on a hub: give user/name, or of a folder ./{name.strip('/')}")


def _copied(out: Path, place: Path) -> Path:
    """The folder copied to another that is not there, as a whole or not at all."""
    if place.exists():
        raise RunError(f"{place} exists already, and nothing in it is overwritten: give a folder that is not there")
    beside = place.with_name(f".{place.name}.{os.getpid()}.unfinished")
    try:
        beside.mkdir(parents=True)
        _stage(out, beside, None)
        beside.rename(place)
    except OSError as error:
        raise RunError(f"{place} cannot be written ({error.strerror}): make room, or give another folder") from None
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return place


def _stage(out: Path, place: Path, name: str | None) -> None:
    """What is uploaded of a folder; its card says where the model then is."""
    for file in sorted(out.iterdir()):
        if file.name in FILES or file.suffix == ".png":
            shutil.copyfile(file, place / file.name)
    card = place / CARD
    if name is not None and card.exists():
        said = card.read_text(encoding="utf-8")
        card.write_text(said.replace(f'from_hub("{PLACE}")', f'from_hub("{name}")'), encoding="utf-8")


def _client() -> Any:
    try:
        import huggingface_hub
        import huggingface_hub.constants
        import huggingface_hub.errors
    except ModuleNotFoundError as error:
        raise RunError(
            f"{error.name} is not installed, and hubs are reached by it: pip install 'jaxvae[hub]'"
        ) from None
    return huggingface_hub


@contextmanager
def _as_sentences(hub: Any, name: str, endpoint: str) -> Iterator[None]:
    """What goes wrong between the client and the hub, as a sentence."""
    errors = hub.errors
    try:
        yield
    except errors.GatedRepoError:
        raise RunError(
            f"{name} is given to those who ask for it at {endpoint}/{name}: ask there, then log in"
        ) from None
    except errors.RepositoryNotFoundError:
        raise RunError(
            f"{endpoint} has no model {name}, or none that this token may see: look at its name, or log in (hf auth "
            "login)"
        ) from None
    except errors.RevisionNotFoundError:
        raise RunError(f"{name} has no such revision: give one of its branches, tags or commits") from None
    except errors.LocalEntryNotFoundError:
        raise RunError(f"{endpoint} cannot be reached, and {name} was not fetched before: {CONNECT}") from None
    except errors.HfHubHTTPError as error:
        code = getattr(error.response, "status_code", None)
        what = (
            "the token may not do this: give one with the right to write" if code in (401, 403) else "try again later"
        )
        raise RunError(f"{endpoint} answers {code} for {name} ({_line(error)}): {what}") from None
    except errors.HFValidationError as error:
        raise RunError(f"{name} is no name that the hub takes ({_line(error)}): give user/name") from None
    except Exception as error:  # the client's transport, of which each of its versions has another
        if isinstance(error, ConnectionError | TimeoutError) or _of_a_transport(error):
            raise RunError(f"{endpoint} cannot be reached ({_line(error)}): {CONNECT}") from None
        raise


def _of_a_transport(error: Exception) -> bool:
    return any(kind.__module__.partition(".")[0] in ("httpx", "httpx2", "requests") for kind in type(error).__mro__)


def _line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)

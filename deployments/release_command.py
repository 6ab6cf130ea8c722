"""`pressrun release`: a new revision of a model brought to the workers and checked against golden pictures."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter
from rich.text import Text

from deployments.cache_place import host_path
from deployments.console import ExitCode, err, out, show_error
from deployments.interrupts import heard_once
from deployments.live_progress import LiveProgress
from deployments.model_place import model_store
from deployments.prefect_environment import prepare_prefect
from deployments.wrong_options import wrong_options
from pressrun.cache.folders import SHARED_FOLDER
from pressrun.cache.mounts import read_mounts
from pressrun.cache.options import CacheRuntime
from pressrun.errors import ReleaseRefused
from pressrun.progress import listening
from pressrun.wording import count

if TYPE_CHECKING:  # Prefect reads its settings when it is imported, so that waits until they are set
    from flows.release_parameters import ReleaseParameters
    from pressrun.release.release import ReleaseSummary


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseOptions:
    """What the model is checked against, and where.

    Parameters
    ----------
    golden : str
        Folder or URL of a collection of a few pictures, which the model has to draw again.
    store : str
        Name of a `ModelStore` block with credentials for the model, whose URL is then a path below the block's.
    write_golden : str
        Prompt file to draw the golden pictures from with this model, where there are none yet.
    least_psnr_db : float
        Least peak signal-to-noise ratio of each picture, in decibels; 30 is hard to see.
    least_ssim : float
        Least structural similarity of each picture; equal ones have 1.
    precision : str
        Number format while drawing; give the one that runs will draw with.
    engine : str
        "diffusers", "null", or "package.module:factory" of your own engine.
    cache : str
        How the model comes to the hosts: hosts share what one of them has read (peer), read it each for itself (none),
        or have it mounted where --mount says (mount): then it is read once there, and nothing is copied.
    mount : list of str
        A folder in which every host has what lies below a URL, as URL=FOLDER, for --cache mount; may be given several
        times.
    workers : int
        Worker processes to prepare; one a GPU, or one a core, when left out.
    dask : str
        Address of a running Dask scheduler whose workers and hosts are prepared instead of this machine's own.
    tenant : str
        Whose golden set it is, and with --cache-exclusive whose cache is prepared.
    cache_exclusive : bool
        Prepare the tenant's own cache instead of the one that all share.
    cache_folder : Path
        Where the cache lies on every host, as runs have it.
    """

    golden: Annotated[str, Parameter(alias="-g")]
    store: str | None = None
    write_golden: str | None = None
    least_psnr_db: float = 30.0
    least_ssim: float = 0.9
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    engine: str = "diffusers"
    cache: CacheRuntime = "peer"
    mount: Annotated[list[str], Parameter(negative="")] = field(default_factory=list)
    workers: int | None = None
    dask: str | None = None
    tenant: str = ""
    cache_exclusive: Annotated[bool, Parameter(negative="")] = False
    cache_folder: Path = Path(SHARED_FOLDER)


def release(
    model: str,
    options: ReleaseOptions,
    *,
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
    verbose: Annotated[bool, Parameter(alias="-v", negative="")] = False,
) -> ExitCode:
    """Bring a new revision of a model to every host, warm the workers with it, and check it against golden pictures.

    In five steps: the hosts' caches grow, the model is brought there, the workers load it, golden pictures are drawn
    again and compared, and the caches shrink again: by what has not been used for longest, or, where a picture differs
    too much, by the new revision itself; then the exit code is 4.

    Parameters
    ----------
    model : str
        Model folder in the diffusers layout: a path or any fsspec URL.
    options : ReleaseOptions
        What the model is checked against, and where.
    as_json : bool
        Print the summary as JSON.
    verbose : bool
        Show Prefect's own log lines.
    """
    from pressrun.release.release import checked, open_release

    prepare_prefect(verbose)
    parameters = _parameters(model, options)
    with heard_once(), LiveProgress(err) as progress, listening(progress):
        progress.say("check", "reading model and golden set")
        opened = open_release(parameters.order(), "")  # a mistake is told now, not when the server is up
        progress.say("prefect", "starting Prefect's temporary server, 10-15 s")
        from deployments.temporary_server import TemporaryServer

        server = TemporaryServer()
        from flows.publish_model import publish_model  # beside the server's start

        server.wait()
        try:
            with checked(opened):
                summary = publish_model(parameters)
        except ReleaseRefused as error:
            show_error(error)
            return ExitCode.UNSOUND
    _show(summary, as_json)
    return ExitCode.DONE


def _parameters(model: str, options: ReleaseOptions) -> ReleaseParameters:
    from pydantic import ValidationError

    from blocks.clusters import ExistingDaskCluster, LocalDaskCluster
    from flows.release_parameters import ReleaseParameters

    plain = asdict(options)
    dask, prompts, store = plain.pop("dask"), plain.pop("write_golden"), plain.pop("store")
    plain |= {"runtime": plain.pop("cache"), "mounts": read_mounts(plain.pop("mount"))}
    plain |= {"exclusive": plain.pop("cache_exclusive"), "cache_folder": host_path(options.cache_folder)}
    try:
        cluster = LocalDaskCluster(workers=options.workers) if dask is None else ExistingDaskCluster(address=dask)
        return ReleaseParameters(
            model=model,
            model_store=None if store is None else model_store(store),
            prompts=prompts,
            write_golden=prompts is not None,
            cluster=cluster,
            **plain,
        )
    except ValidationError as error:
        raise wrong_options(error, _option) from error


def _option(place: tuple[int | str, ...]) -> str:
    """Return the option that a place in the flow's parameters stands for."""
    names = {"address": "dask", "exclusive": "cache-exclusive"}
    name = str(place[-1]) if place else "write-golden"
    return f"--{names.get(name, name).replace('_', '-')}"


def _show(summary: ReleaseSummary, as_json: bool) -> None:
    if as_json:
        out.print_json(json.dumps(summary.record()))
        return
    worst = (
        "all equal"
        if summary.least_psnr_db is None
        else (f"the least like has PSNR {summary.least_psnr_db:.1f} dB, SSIM {summary.least_ssim:.3f}")
    )
    written = f" ({summary.written} written now)" if summary.written else ""
    out.print(
        f"[bold green]released[/]: revision {summary.revision[:12]} on {count(summary.hosts, 'host')}; "
        f"{count(summary.pictures, 'golden picture')}{written} drawn again, {worst}",
        highlight=False,
        soft_wrap=True,
    )
    out.print(Text(f"  {summary.model}"), soft_wrap=True)

"""``gatewise record``: record the results of a layer, to verify them on another machine."""

from __future__ import annotations

from pathlib import Path

import click

from .common import (
    COULD_NOT_RUN,
    Seconds,
    command,
    device_option,
    dtype_option,
    like_option,
    memory_option,
    quoted,
    seed_option,
    stop,
)


@click.command()
@click.argument("name", metavar="SUBJECT")
@like_option
@device_option
@click.option("-o", "--output", "folder", required=True, metavar="DIR",
              type=click.Path(path_type=Path), help="The recording's folder.")  # fmt: skip
@seed_option
@dtype_option
@click.option("--timeout", type=Seconds(), default=300.0,
              show_default=True, metavar="SECONDS", help="For one case.")  # fmt: skip
@memory_option
def record(
    name: str,
    like: str | None,
    device: str,
    folder: Path,
    seed: int,
    dtype: str | None,
    timeout: float,
    memory: int,
) -> None:
    """Record what SUBJECT computes on this machine.

    The folder DIR can be verified on any other machine, without the layer, its framework or its
    GPU: gatewise verify recording:DIR. A layer on a GPU has no memory limit.
    """
    from ..reports.terminal import progress
    from ..verify.execution.recording_tasks import NotRecorded
    from ..verify.execution.recording_tasks import record as recorded
    from ..verify.execution.tasks import Named
    from ..verify.runs.findings import counted
    from ..verify.runs.records import RunFileError
    from ..verify.subjects.loader import UnknownSubject

    try:
        with progress(None) as advance:
            count = 0
            for entry in recorded(
                Named(name, like, device=device),
                folder,
                command=command(),
                seed=seed,
                dtype=dtype,
                timeout=timeout,
                memory=memory,
                on_plan=advance.plan,
            ):
                count += 1
                advance(f"{entry.check} {entry.case.get('dtype', 'float64')}")
    except (UnknownSubject, RunFileError) as error:
        raise click.UsageError(str(error)) from error
    except NotRecorded as error:
        stop(f"{name}: {error}", COULD_NOT_RUN)
    except OSError as error:
        stop(f"{folder}: cannot be written ({error.strerror})", COULD_NOT_RUN)
    except KeyboardInterrupt:
        stop("interrupted; nothing is left of the recording", COULD_NOT_RUN)
    size = sum(path.stat().st_size for path in folder.iterdir()) / 2**20
    click.echo(
        f"recording: {folder} ({counted(count, 'case')}, {size:.1f} MiB)\n"
        f"verify it anywhere with: gatewise verify {quoted(f'recording:{folder}')}"
    )

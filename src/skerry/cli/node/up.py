"""`skerry up`: start the node."""

from __future__ import annotations

from pathlib import Path

import click

from skerry.cli.options import DATA_HELP, examples

FOLDER = click.Path(file_okay=False, path_type=Path)


@click.command(
    epilog=examples(
        "skerry up",
        "skerry up --data /srv/skerry --port 8700",
        "skerry up --host 0.0.0.0        needs a key: skerry keys create --name me --scope admin",
    )
)
@click.option("--data", type=FOLDER, metavar="DIR", help=DATA_HELP)
@click.option("--models", type=FOLDER, metavar="DIR", help="Models folder; else 'models' in it.")
@click.option("--host", metavar="HOST", help="Address to listen on.  [default: 127.0.0.1]")
@click.option(
    "--port", type=click.IntRange(0, 65535), metavar="N", help="Port to listen on.  [default: 8642]"
)
@click.option(
    "--config",
    type=click.Path(dir_okay=False, path_type=Path),
    envvar="SKERRY_CONFIG",
    metavar="FILE",
    help="Settings; else SKERRY_CONFIG, else ./skerry.toml where it exists.",
)
def up(
    data: Path | None, models: Path | None, host: str | None, port: int | None, config: Path | None
) -> None:
    """Start the node and serve until Ctrl-C."""
    from skerry.config import load_settings

    flags = {
        "node.data": _text(data),
        "models.folder": _text(models),
        "node.host": host,
        "node.port": port,
    }
    settings = load_settings(config, flags=flags)
    from skerry.api.serve import serve

    serve(settings)


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path.expanduser())

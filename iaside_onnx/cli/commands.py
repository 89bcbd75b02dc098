"""What all commands have: help in groups, environment variables, how much is said."""

from __future__ import annotations

import warnings
from typing import Any

import click

from iaside_onnx.cli.console import Verbosity

__all__ = ["GROUPS", "Command", "envvar"]

GROUPS = {
    "Images": (
        "images", "images_key", "labels_key", "labels", "classes",
        "limit", "on_bad_image",
    ),
    "Model": (
        "model", "preprocess", "input_size", "input_layout", "output_name", "output_kind",
        "allow_nondeterministic",
    ),
    "Method": (
        "bands", "partition", "spacing", "baseline", "pixel_range", "method", "budget",
        "target_se", "target_sis_width", "inference", "seed",
    ),
    "Hardware": (
        "device", "provider", "provider_options", "tf32", "cuda_graph", "allow_cpu_nodes",
        "batch_size", "threads", "workers", "timeout", "memory_limit",
    ),
    "Output": ("out", "overwrite", "profile", "as_json", "quiet", "verbose", "help"),
}  # fmt: skip
"""Names of parameters by the heading of the help page that they are listed under."""

# Up to so many options are read at a glance.
_MOST_IN_ONE_LIST = 15


def _set_quiet(_context: click.Context, _parameter: click.Parameter, value: bool) -> None:
    Verbosity.quiet = value


def _set_verbose(_context: click.Context, _parameter: click.Parameter, value: bool) -> None:
    Verbosity.verbose = value
    if value:
        warnings.simplefilter("default")


def _verbosity_options() -> list[click.Option]:
    return [
        click.Option(
            ["-q", "--quiet"], is_flag=True, expose_value=False, callback=_set_quiet,
            help="Print nothing on stderr but warnings and errors.",
        ),
        click.Option(
            ["-v", "--verbose"], is_flag=True, expose_value=False, callback=_set_verbose,
            help="Also print what libraries warn of, and where an error arose.",
        ),
    ]  # fmt: skip


def envvar(ctx: click.Context, option: click.Option) -> str:
    """The environment variable that sets an option: its name in capitals, behind its command's."""
    flag = max(option.opts, key=len).removeprefix("--")
    return f"{ctx.auto_envvar_prefix}_{flag}".replace("-", "_").upper()


class Command(click.Command):
    """A command whose options can be set by environment variables."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.params += _verbosity_options()

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse; click itself would look for the variable of the Python name, such as `as_json`."""
        for option in self.params:
            if isinstance(option, click.Option) and option.allow_from_autoenv:
                option.envvar = envvar(ctx, option) if ctx.auto_envvar_prefix else None
        return super().parse_args(ctx, args)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the options, in groups where they are many."""
        records = {
            "help" if "--help" in option.opts else str(option.name): record
            for option in self.get_params(ctx)
            if isinstance(option, click.Option) and (record := option.get_help_record(ctx))
        }
        if len(records) <= _MOST_IN_ONE_LIST:
            groups = {"Options": tuple(records)}
        else:
            known = {name for names in GROUPS.values() for name in names}
            groups = {**GROUPS, "Others": tuple(name for name in records if name not in known)}
        for heading, names in groups.items():
            listed = [records[name] for name in names if name in records]
            if listed:
                with formatter.section(heading):
                    formatter.write_dl(listed)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Say how environment variables are named."""
        super().format_epilog(ctx, formatter)
        option = next(o for o in self.params if isinstance(o, click.Option) and not o.hidden)
        if ctx.auto_envvar_prefix:
            formatter.write_paragraph()
            formatter.write_text(
                "Each option can also be set by an environment variable, as "
                f"{max(option.opts, key=len)} by {envvar(ctx, option)}."
            )

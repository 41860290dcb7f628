"""`alga-ext check` and `alga-ext pack`: is it in order, and the archive of what is."""

from __future__ import annotations

from pathlib import Path

import msgspec

from gateway.cli.access import AS_TEXT, OutFile, Output
from gateway.cli.checking import Problem, Report, check_project
from gateway.cli.failures import CliError, Exit, from_platform
from gateway.cli.project import open_project
from gateway.cli.providers import providers_here
from gateway.cli.terminal import Terminal
from shared.bundle_writer import write_bundle
from shared.errors import PlatformError
from shared.limits import MIB


class Packed(msgspec.Struct, frozen=True, kw_only=True):
    """What `pack --json` prints.

    Attributes:
        bundle: path of the archive.
        content_hash: `sha256:<hex>`, the name of these bytes everywhere.
        warnings: what may not be meant.
    """

    bundle: str
    name: str
    version: str
    content_hash: str
    manifest_sha256: str
    component_sha256: str | None
    size_bytes: int
    warnings: tuple[Problem, ...]


def check(directory: Path = Path(), /, *, allow_unused_imports: bool = False, output: Output = AS_TEXT) -> Exit:
    """Check a project: manifest, component, capabilities, sizes, pages. Reports everything at once.

    Args:
        directory: the project's folder.
        allow_unused_imports: an import whose capability is not declared is a warning; the call stays denied.
    """
    terminal = output.terminal()
    with terminal.working("checking"):
        report = check_project(directory, allow_unused_imports=allow_unused_imports)
    terminal.document(report)
    _tell(report.problems, terminal)
    if not report.ok:
        terminal.note(f"next: {_next_step(report)}", "cyan")
        return Exit.FAILED
    size = f"{report.files} files, {report.unpacked_bytes / MIB:.1f} MiB unpacked"
    terminal.say(f"{report.name} {report.version} is in order ({size})", "green")
    return Exit.OK


def pack(
    directory: Path = Path(),
    /,
    *,
    out: OutFile = None,
    allow_unused_imports: bool = False,
    output: Output = AS_TEXT,
) -> Exit:
    """Pack a project into a bundle. The same files give the same bytes, on every machine.

    Args:
        directory: the project's folder.
        out: the archive; by default dist/NAME-VERSION.tar.zst in the project.
        allow_unused_imports: as for check, which is part of packing.
    """
    terminal = output.terminal()
    with terminal.working("checking and packing"):
        report = check_project(directory, allow_unused_imports=allow_unused_imports, try_packing=False)
        if not report.ok:
            raise _refused(report)
        project = open_project(directory)
        bundle = out or project.bundle
        bundle.parent.mkdir(parents=True, exist_ok=True)
        try:
            digest = write_bundle(project.folder, bundle, known=providers_here().capabilities)
        except PlatformError as error:
            raise from_platform(error) from error
    _tell(report.problems, terminal)
    terminal.say(f"{digest.content_hash}  {bundle} ({digest.size_bytes / MIB:.1f} MiB)")
    terminal.document(
        Packed(
            bundle=str(bundle),
            name=project.manifest.name,
            version=project.manifest.version,
            content_hash=digest.content_hash,
            manifest_sha256=digest.manifest_sha256,
            component_sha256=digest.component_sha256,
            size_bytes=digest.size_bytes,
            warnings=report.problems,
        )
    )
    return Exit.OK


def _tell(problems: tuple[Problem, ...], terminal: Terminal) -> None:
    for problem in problems:
        terminal.say(_sentence(problem), "red" if problem.severity == "error" else "yellow")


def _sentence(problem: Problem) -> str:
    return f"{problem.severity}: {problem.path}: {problem.message} [{problem.code}]"


def _refused(report: Report) -> CliError:
    errors = report.errors()
    return CliError(
        f"the project is not in order: {len(errors)} error{'s' if len(errors) > 1 else ''}",
        next_step=_next_step(report),
        code="cli_not_in_order",
        details=tuple(map(_sentence, report.problems)),
        members={"problems": msgspec.to_builtins(report.problems)},
    )


def _next_step(report: Report) -> str:
    errors = report.errors()
    if any((problem.code, problem.path) == ("file_missing", "$.entry") for problem in errors):
        return "alga-ext build writes the component; correct the rest, then check again"
    if any(problem.code == "capability_undeclared" for problem in errors):
        return "declare the capabilities or drop the imports; --allow-unused-imports takes them with a warning"
    return "correct what stands above, then check again"

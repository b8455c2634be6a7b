"""`run_study`: run a validated study to its report, resuming what an earlier run left; `confirm_study`."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from optuna.exceptions import StorageInternalError
from pydantic import ValidationError
from rich.console import Console

from loratory.objectives.atomic_files import write_atomically
from loratory.objectives.objective import Prepared, objective_kind
from loratory.objectives.records import TrialState
from loratory.objectives.study_folder import StudyFolder
from loratory.search.advice import advice
from loratory.search.best_settings import retrainings_left
from loratory.search.executors.executor import Executor
from loratory.search.full_disk import full_disk
from loratory.search.interruption import catch_interrupt
from loratory.search.lock import driver_lock
from loratory.search.manifest import as_begun, beginning_of, check_fits, forget_beginning, open_manifest
from loratory.search.rights import missing_right
from loratory.search.samplers import trial_limit
from loratory.search.search_over import check_over
from loratory.search.session import StudyResult, StudySession, Work
from loratory.search.status import study_status
from loratory.search.terminal import replace_what_cannot_be_shown, say
from loratory.spaces.confirmation import ConfirmationSpec
from loratory.spaces.errors import InputError, LoratoryError
from loratory.spaces.rules import in_words
from loratory.spaces.study import StudySpec

__all__ = ["StudyResult", "confirm_study", "run_study"]


def run_study(
    study: StudySpec,
    *,
    runs: str | Path = "runs",
    address: str | None = None,
    local: bool = False,
    console: Console | None = None,
) -> StudyResult:
    """Run a study, or resume it if its folder exists.

    Args:
        study: the study to run.
        runs: folder of the study folders.
        address: a running Ray cluster; None starts Ray on this machine, or uses the connected one.
        local: one worker in this process, without Ray.
        console: receives progress; None is silent.

    Raises:
        InputError: the input must be corrected; raised before any trial starts.
        LoratoryError: the study cannot go on; the folder and its report hold all that was recorded.
    """
    console = console or Console(quiet=True)
    folder = StudyFolder(Path(runs) / study.name)
    study = as_begun(folder, study)
    work = Work(confirmation=study.confirmation)
    with _owned(folder):
        forget_beginning(folder)
        if folder.manifest.is_file():
            check_fits(folder, folder.read_manifest(), study)
        return _work(folder, study, work, console, address=address, local=local)


def confirm_study(
    folder: StudyFolder,
    *,
    top: int | None = None,
    seeds: int | None = None,
    address: str | None = None,
    local: bool = False,
    console: Console | None = None,
) -> StudyResult:
    """Train the best settings of a finished study again on new seeds, or go on with it.

    Args:
        folder: the study folder.
        top: how many settings; None: as asked before, or else as the default of `confirmation`.
        seeds: trainings of each, likewise.
        address: a running Ray cluster; None starts Ray on this machine, or uses the connected one.
        local: one worker in this process, without Ray.
        console: receives progress; None is silent.

    Raises:
        InputError: there is no study in the folder, its search is not over or has no trial with a score, or
            another driver runs it.
        LoratoryError: the training cannot go on; the folder and its report hold all that was recorded.
    """
    console = console or Console(quiet=True)
    folder.read_manifest()
    with _owned(folder):
        study = folder.read_manifest().spec
        confirmation = _asked(study.confirmation or ConfirmationSpec(), top, seeds)
        check_over(folder, study)
        study = study.model_copy(update={"confirmation": confirmation})
        work = Work(search=False, confirmation=confirmation)
        return _work(folder, study, work, console, address=address, local=local)


def _asked(known: ConfirmationSpec, top: int | None, seeds: int | None) -> ConfirmationSpec:
    """Return what is asked for, where it is, and what is known for the rest.

    Raises:
        InputError: a number is out of range.
    """
    given = {name: value for name, value in (("top", top), ("seeds", seeds)) if value is not None}
    try:
        return ConfirmationSpec.model_validate(known.model_dump() | given)
    except ValidationError as error:
        broken = (f"{detail['loc'][0]} {in_words(detail)}" for detail in error.errors())
        raise InputError(f"confirm: {'; '.join(broken)}") from error


def _work(
    folder: StudyFolder,
    study: StudySpec,
    work: Work,
    console: Console,
    *,
    address: str | None,
    local: bool,
) -> StudyResult:
    """Prepare the data, run the driver once, and write the report."""
    began = time.monotonic()
    replace_what_cannot_be_shown(console.file)
    with (
        catch_interrupt() as interrupted,
        closing(_executor(_for_workers(study, work), address, local=local)) as executor,
    ):
        kind = objective_kind(study.objective)
        kind.check(study)
        if not _is_done(folder, study, work):
            executor.check()
            say(console, f"{study.name}: reading data{'' if local else ', starting workers'}")
            with _importing(kind.import_for_prepare):
                # A missing GPU is reported at once and not after the data has been read.
                executor.open()
        beginning = beginning_of(folder)
        prepared = kind.prepare(study, beginning)
        with _full_disk_in_a_line(folder):
            manifest = open_manifest(folder, study, prepared, beginning)
            prepared = _keep_data(folder, prepared)
            say(console, *prepared.summary, *advice(study))
            session = StudySession(folder, manifest, prepared, console, work=work, began=began)
        try:
            with _full_disk_in_a_line(folder):
                done = session.drive(executor, interrupted)
        except LoratoryError:
            with suppress(OSError):  # no report on a full disk
                say(console, *session.result(done=False).notes)
            raise
        with _full_disk_in_a_line(folder):
            return session.result(done=done)


@contextmanager
def _importing(imports: Callable[[], None]) -> Iterator[None]:
    """Run imports in a thread meanwhile; an import that fails is repeated, and raises, where it is needed."""

    def run() -> None:
        with suppress(Exception):
            imports()

    thread = threading.Thread(target=run, name="imports")
    thread.start()
    yield
    thread.join()


def _is_done(folder: StudyFolder, study: StudySpec, work: Work) -> bool:
    if not folder.manifest.is_file():
        return False
    status = study_status(folder)
    if status.done < trial_limit(study, infeasible=status.states.get(TrialState.INFEASIBLE, 0)):
        return False
    return work.confirmation is None or not retrainings_left(
        folder.read_records(),
        folder.read_retrained(),
        direction=study.metric_direction,
        confirmation=work.confirmation,
    )


def _for_workers(study: StudySpec, work: Work) -> StudySpec:
    """Return the study as workers read it: no worker has more slots than there are trials."""
    trainings = work.confirmation.runs if work.confirmation else 0
    return study.model_copy(update={"trials": max(study.trials, trainings)})


def _executor(study: StudySpec, address: str | None, *, local: bool) -> Executor:
    if local:
        from loratory.search.executors.local import LocalExecutor

        return LocalExecutor(study)
    from loratory.search.executors.ray_workers import RayExecutor

    return RayExecutor(study, address=address)


@contextmanager
def _owned(folder: StudyFolder) -> Iterator[None]:
    """Hold the study's lock, and remove the folder if no study began in it.

    Raises:
        InputError: the folder cannot be written to, or another driver holds it.
    """
    try:
        folder.path.mkdir(parents=True, exist_ok=True)
        folder.lock.open("a").close()
    except OSError as error:
        raise InputError(
            f"{folder.path}: must be a folder that can be written to: {error.strerror}"
        ) from error
    with driver_lock(folder.path):
        try:
            yield
        finally:
            if not folder.manifest.is_file():
                with suppress(OSError):  # the folder holds other files and must stay
                    folder.lock.unlink()
                    folder.path.rmdir()


@contextmanager
def _full_disk_in_a_line(folder: StudyFolder) -> Iterator[None]:
    """Replace errors on a full disk, and of missing rights, by one line; SQLite reports invalid data."""
    try:
        yield
    except (OSError, StorageInternalError) as error:
        if (told := missing_right(error)) is not None:
            raise told from error
        if (full := full_disk(error, folder.path)) is not None:
            raise full from error
        raise


def _keep_data(folder: StudyFolder, prepared: Prepared) -> Prepared:
    """Write the files of prepared data; return it without them, since workers need none."""
    for name, data in prepared.files.items():
        path = folder.data / name
        if not path.is_file() or path.read_bytes() != data:
            write_atomically(path, data)
    return replace(prepared, files={})

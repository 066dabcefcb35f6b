"""Executors: map a function over shards, here or on a cluster. No stage knows that they exist."""

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context, parent_process
from threading import Thread
from typing import TYPE_CHECKING, Any, TypeVar

from annotator.errors import AnnotatorError, MissingDependency
from stages import WORKER

if TYPE_CHECKING:
    from ctypes import Array, c_longlong

T = TypeVar("T")
R = TypeVar("R")
Work = Callable[[T], Iterator[int | R]]
"""Yields progress as numbers, and its result last."""
Lost = Callable[[T, str], R]
"""Makes the result of a task whose worker died again and again."""

ATTEMPTS = 3
"""A shard whose worker died this often is given up; the rest of the run goes on."""
WAITING_PER_WORKER = 2
SECONDS_BETWEEN_LOOKS = 0.5
"""A pool's workers are looked at so often for how far they have come."""


def local(
    work: Work[T, R], lost: Lost[T, R], tasks: Sequence[T], workers: int
) -> Iterator[int | R]:
    """In this process for one worker, else in a pool of processes that survives their death."""
    if workers == 1:
        for task in tasks:
            yield from work(task)
        return
    yield from _pool(work, lost, tasks, workers)


def _pool(
    work: Work[T, R], lost: Lost[T, R], tasks: Sequence[T], workers: int
) -> Iterator[int | R]:
    left, threads = deque(tasks), threads_per_worker(workers)
    while left:
        suspects = yield from _drain(work, left, workers, threads)
        for task in suspects:
            yield from _alone(work, lost, task, threads)


def _drain(
    work: Work[T, R], left: deque[T], workers: int, threads: int
) -> Generator[int | R, None, list[T]]:
    """Results until all is done or the pool breaks; returns the tasks that were then out."""
    context = get_context("spawn")
    progress = _Progress(context.RawArray("q", workers * WAITING_PER_WORKER))
    stop, begun = context.RawValue("b", 0), context.Value("i", 0)
    running: dict[Future[R], tuple[int, T]] = {}
    begin = (threads, begun, progress.counts, stop)
    with ProcessPoolExecutor(workers, context, _begin, begin) as pool:
        try:
            while left or running:
                while left and len(running) < len(progress.counts):
                    place = progress.begin()
                    future: Future[R] = pool.submit(_work_counted, work, left[0], place)
                    running[future] = place, left.popleft()
                done, _ = wait(running, SECONDS_BETWEEN_LOOKS, FIRST_COMPLETED)
                if made := progress.made():
                    yield made
                for future in done:
                    yield future.result()
                    progress.end(running.pop(future)[0])
        except BrokenProcessPool:
            yield -progress.unfinished()
        finally:
            stop.value = bool(running)
    return [task for _, task in running.values()]


def _alone(work: Work[T, R], lost: Lost[T, R], task: T, threads: int) -> Iterator[int | R]:
    """A broken pool does not say which task killed its worker: alone, each answers for itself."""
    for _ in range(ATTEMPTS):
        if not (yield from _drain(work, deque([task]), 1, threads)):
            return
    yield lost(task, f"its worker died {ATTEMPTS} times; is memory short?")


def threads_per_worker(workers: int) -> int:
    """The cores of this machine shared out among the workers, at least one each."""
    # macOS does not say which cores are ours.
    ours = getattr(os, "sched_getaffinity", None)
    cores = len(ours(0)) if ours else os.cpu_count() or 1
    return max(1, cores // workers)


class _Progress:
    """How far the tasks that are out have come, which each worker counts at the task's place."""

    def __init__(self, counts: "Array[c_longlong]") -> None:
        self.counts = counts
        self._seen = [0] * len(counts)
        self._free = set(range(len(counts)))

    def begin(self) -> int:
        """The place of a new task."""
        place = self._free.pop()
        self.counts[place] = self._seen[place] = 0
        return place

    def end(self, place: int) -> None:
        """Let another task have it."""
        self._seen[place] = 0
        self._free.add(place)

    def made(self) -> int:
        """Since the last look."""
        before = self.unfinished()
        for place in set(range(len(self.counts))) - self._free:
            self._seen[place] = self.counts[place]
        return self.unfinished() - before

    def unfinished(self) -> int:
        """What was seen of the tasks that are still out."""
        return sum(self._seen)


_counts: "Array[c_longlong]"
_stop: Any
"""In a worker of a pool: where it counts, and whether what it does is still wanted."""


def _begin(threads: int, begun: Any, counts: "Array[c_longlong]", stop: Any) -> None:
    """In a new worker; `begun` is how many there were before it."""
    global _counts, _stop
    _counts, _stop = counts, stop
    # Before torch is imported in the new process: it reads the variable once.
    os.environ["OMP_NUM_THREADS"] = str(threads)
    with begun.get_lock():
        os.environ[WORKER] = str(begun.value)
        begun.value += 1
    Thread(target=_die_with_the_run, daemon=True).start()


def _work_counted(work: Work[T, R], task: T, place: int) -> R:
    """The result; progress is counted at the place."""
    events = work(task)
    while not _stop.value:
        event = next(events)
        if not isinstance(event, int):
            return event
        _counts[place] += event
    raise _NotWanted


class _NotWanted(Exception):
    """The run has ended meanwhile."""


def _die_with_the_run() -> None:
    """A worker whose run was killed would wait for its next task for ever, with a model loaded."""
    run = parent_process()
    assert run is not None, "begun in a worker"
    run.join()
    os._exit(1)


def dask(work: Work[T, R], lost: Lost[T, R], tasks: Sequence[T], workers: int) -> Iterator[int | R]:
    """On the cluster that Dask's own `scheduler-address` setting names, else on local workers."""
    try:
        from dask import config
        from distributed import Client, LocalCluster
    except ImportError:
        raise MissingDependency(
            "the dask executor needs Dask: pip install 'annotator[dask]'"
        ) from None
    address = config.get("scheduler-address", None)
    if address:
        with Client(address) as client:
            yield from _dask_drain(client, None, work, lost, tasks, workers)
        return
    with (
        LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            dashboard_address=None,
            env={"OMP_NUM_THREADS": str(threads_per_worker(workers))},
        ) as cluster,
        Client(cluster) as client,
    ):
        yield from _dask_drain(client, cluster, work, lost, tasks, workers)


def _dask_drain(
    client: Any,
    cluster: Any,
    work: Work[T, R],
    lost: Lost[T, R],
    tasks: Sequence[T],
    workers: int,
) -> Iterator[int | R]:
    from distributed import KilledWorker
    from distributed import wait as wait_for

    left, attempts = deque(range(len(tasks))), [0] * len(tasks)
    running: dict[Any, int] = {}
    while left or running:
        while left and len(running) < workers * WAITING_PER_WORKER:
            index = left.popleft()
            future = client.submit(_collect, work, tasks[index], cluster is not None, pure=False)
            running[future] = index
        for future in _finished(wait_for, list(running), cluster, workers):
            index = running.pop(future)
            error = future.exception() if future.status == "error" else None
            if error is None:
                yield from future.result()
            elif not isinstance(error, KilledWorker):
                raise error
            elif attempts[index] + 1 < ATTEMPTS:
                attempts[index] += 1
                left.append(index)
            else:
                yield lost(tasks[index], f"its worker died again and again: {error}")


def _collect(work: Work[T, R], task: T, is_ours: bool) -> list[int | R]:
    """On a worker, which is known by its number in a cluster of ours; another's has its GPU."""
    if is_ours:
        from distributed import get_worker

        os.environ[WORKER] = str(get_worker().name)
    return list(work(task))


def _finished(wait_for: Any, futures: list[Any], cluster: Any, workers: int) -> Iterable[Any]:
    """Futures that are done; between looks, workers that died unnoticed are brought back.

    A worker that dies while its nanny still counts it as starting is not restarted by Dask: the
    cluster shrinks, at worst to nothing, and every future would wait for ever.
    """
    while True:
        try:
            return list(wait_for(futures, timeout=5, return_when="FIRST_COMPLETED").done)
        except TimeoutError:
            if cluster is not None and len(cluster.scheduler_info["workers"]) < workers:
                cluster.scale(workers)


EXECUTORS = {"local": local, "dask": dask}


def executor(name: str) -> Callable[..., Iterator[Any]]:
    """The executor of that name, AnnotatorError with the names that there are."""
    if name not in EXECUTORS:
        raise AnnotatorError(f"no executor is called {name!r}: there are {', '.join(EXECUTORS)}")
    return EXECUTORS[name]

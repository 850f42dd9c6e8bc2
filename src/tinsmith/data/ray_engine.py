"""The per-part step on Ray Data (the extra `ray`), past one machine. Rows do not depend on where they are computed.

`TINSMITH_RAY=local` starts Ray on this machine's loopback interface; an address such as `10.0.0.5:6379` joins a cluster
whose machines have this version of tinsmith and see the data and the run folder under the same paths. The variable is
no configuration key, because it says where work runs, not what comes out.
"""

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import chdir
from pathlib import Path
from typing import Any, TypeVar

from tinsmith.core.errors import DataError, MissingDependency, UserError

Input = TypeVar("Input")
Output = TypeVar("Output")

VARIABLE = "TINSMITH_RAY"
LOCAL = "local"
_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",  # reports nothing to its makers
    "RAY_enable_metrics_collection": "0",
    "RAY_agent_register_timeout_ms": "300000",  # on a busy machine its helpers need more than the usual 15 seconds
}
_LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
"""Ray listens on the loopback interface alone, as it does on Windows and macOS anyway."""


def ray_address() -> str:
    """Where Ray runs; empty if it is not to be used."""
    return os.environ.get(VARIABLE, "")


def on_ray(
    function: Callable[[Input], Output], inputs: Sequence[Input], address: str, count: int
) -> Iterator[tuple[int, Output]]:
    """`(index, function(inputs[index]))` for each input, in the order in which they are finished.

    Args:
        function: A module's function, which the cluster's machines can import.
        inputs: Small objects, each one task.
        address: `local`, or the address of a running cluster.
        count: Tasks at once on `local`; a cluster has its own limit.

    Raises:
        MissingDependency: Ray is not installed.
        DataError: Ray cannot start, or a task failed or was killed.
        UserError: as `function`.
    """
    # Ray reads these when it is imported.
    os.environ |= _ENVIRONMENT | (_LOOPBACK if address == LOCAL else {})
    try:
        import ray
        import ray.data
        import ray.exceptions
    except ImportError as error:
        raise MissingDependency(
            f"{VARIABLE} is set, but Ray is not installed", "Install it: pip install 'tinsmith[ray]', or unset it."
        ) from error

    folder = Path.cwd()

    def task(row: dict[str, Any]) -> dict[str, Any]:
        with chdir(folder):  # paths may be relative
            try:
                return {"index": row["index"], "output": function(inputs[row["index"]])}
            except UserError as error:  # as a value: Ray replaces errors by its own
                return {"index": row["index"], "output": error}

    try:
        _start(ray, address, count)
        ray.data.DataContext.get_current().enable_progress_bars = False
        items = [{"index": index} for index in range(len(inputs))]
        for row in ray.data.from_items(items, override_num_blocks=len(items)).map(task).iter_rows():
            if isinstance(row["output"], UserError):
                raise row["output"]
            yield row["index"], row["output"]
    except ray.exceptions.RayError as error:
        raise DataError(f"Ray: {error}", f"Look at its logs, or unset {VARIABLE} to use this machine alone.") from error
    finally:
        ray.shutdown()


def _start(ray: Any, address: str, count: int) -> None:
    for name in ("ray", "ray.data"):
        logging.getLogger(name).setLevel(logging.ERROR)
    options: dict[str, Any] = {"log_to_driver": False, "configure_logging": False}
    if address == LOCAL:
        options |= {"num_cpus": count, "include_dashboard": False}
    else:
        options["address"] = address
    try:
        ray.init(**options)
    except Exception as error:  # Ray raises nothing more exact
        raise DataError(
            f"{VARIABLE}={address}: Ray cannot be reached: {error}", f"Use an address, or {VARIABLE}={LOCAL}."
        ) from error

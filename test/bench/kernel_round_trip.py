"""Round trips of `1+1` through jupyter_client: `kernel_round_trip.py KERNEL COUNT`. Each line of stdin asks for COUNT of them;
the answer is their median time in seconds, from the request to the `idle` after it."""

import json
import resource
import statistics
import sys
import time

from jupyter_client.manager import start_new_kernel


def round_trip(client):
    start = time.perf_counter()
    request = client.execute("1+1", store_history=False)
    while True:
        message = client.get_iopub_msg(timeout=30)
        if message["parent_header"].get("msg_id") != request:
            continue
        if message["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
            break
    client.get_shell_msg(timeout=30)
    return time.perf_counter() - start


def main():
    name, count = sys.argv[1], int(sys.argv[2])
    manager, client = start_new_kernel(kernel_name=name, startup_timeout=60)
    client.kernel_info()
    implementation = client.get_shell_msg(timeout=30)["content"]
    version = f"{implementation['implementation']} {implementation['implementation_version']}"
    try:
        for _ in sys.stdin:
            seconds = statistics.median(round_trip(client) for _ in range(count))
            peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
            print(json.dumps({"seconds": seconds, "peakBytes": peak, "version": version}), flush=True)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


main()

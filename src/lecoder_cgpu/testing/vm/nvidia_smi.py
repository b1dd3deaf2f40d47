"""Answers like nvidia-smi on a VM with one GPU. Runs on the VM."""

import os
import sys

NAME, MEMORY = os.environ["FAKE_COLAB_GPU"].split(",")
VALUES = {
    "index": "0",
    "name": NAME,
    "gpu_name": NAME,
    "uuid": "GPU-00000000-0000-0000-0000-000000000000",
    "driver_version": "550.54.15",
    "memory.total": MEMORY,
    "memory.used": "3",
    "memory.free": str(int(MEMORY) - 3),
    "utilization.gpu": "0",
    "utilization.memory": "0",
    "temperature.gpu": "41",
}
UNITS = {"memory": " MiB", "utilization": " %"}


def main() -> None:
    options = dict(item.partition("=")[::2] for item in sys.argv[1:])
    if "-L" in options:
        print(f"GPU 0: {NAME} (UUID: {VALUES['uuid']})")
        return
    fields = next((options[key].split(",") for key in ("--query-gpu", "--query-gpus") if key in options), None)
    if fields is None:
        print(f"Fake NVIDIA-SMI  Driver Version: {VALUES['driver_version']}\n|   0  {NAME}   3MiB / {MEMORY}MiB   0% |")
        return
    shape = options.get("--format", "csv").split(",")
    if "noheader" not in shape:
        print(", ".join(fields))
    units = {} if "nounits" in shape else UNITS
    print(", ".join(VALUES.get(name, "[N/A]") + units.get(name.split(".")[0], "") for name in fields))


if __name__ == "__main__":
    main()

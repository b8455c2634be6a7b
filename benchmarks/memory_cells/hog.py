"""A process that holds memory of the device, as a neighbour on a shared GPU does.

python -m memory_cells.hog DEVICE      requests by standard input: {"leave": BYTES} or {"release": true}
"""

import json
import sys

import torch
from packing_cells.device_memory import used_bytes

from memory_cells.lines import say


def main() -> None:
    """Take and give back memory on request; everything is given back at the end."""
    device = torch.device(sys.argv[1])
    held = [torch.zeros(1, device=device)]  # the context comes first
    say({"used": used_bytes(device)})
    for line in sys.stdin:
        request = json.loads(line)
        if request.get("release"):
            held.clear()
            torch.cuda.empty_cache()
        elif device.type == "cuda":
            excess = torch.cuda.mem_get_info(device)[0] - int(request["leave"])
            if excess > 0:
                held.append(torch.empty(excess, dtype=torch.uint8, device=device))
        say({"free": torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else 0})


if __name__ == "__main__":
    main()

"""What do glibc's malloc thresholds cost a training step?

    python tests/benchmarks/malloc.py           # about 5 minutes

The same steps in processes with and without raised thresholds, in turn: a raw loop on one thread
over whole batches, and `train`, which cuts them into pieces. Processor time (a busy machine
disturbs it less than the clock) and page faults per step, medians over processes.
"""

import os
import resource
import subprocess
import sys
import time
from statistics import median

RAISED = {
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),  # the most that glibc takes
    "MALLOC_TRIM_THRESHOLD_": str(1 << 30),
    "MALLOC_TOP_PAD_": str(64 << 20),
}
RUNS = [  # loop, windows, rows of a window, origins, steps
    ("raw", 256, 60, 1, 6),
    ("raw", 1024, 60, 1, 2),
    ("train", 256, 60, 1, 10),
    ("train", 1024, 60, 1, 4),
    ("train", 64, 127, 64, 15),
    ("train", 8, 127, 64, 40),
]


def main():
    found = {}
    for _ in range(3):
        for name, more in (("default", {}), ("raised", RAISED)):
            done = subprocess.run(
                [sys.executable, __file__, "child"],
                env=os.environ | more,
                capture_output=True,
                text=True,
                check=True,
            )
            for line in done.stdout.splitlines():
                run, milliseconds, faults = (part.strip() for part in line.split("|"))
                found.setdefault((run, name), []).append((float(milliseconds), float(faults)))
    for run in (" ".join(map(str, run)) for run in RUNS):
        (before, many), (after, few) = (
            [median(column) for column in zip(*found[run, name])] for name in ("default", "raised")
        )
        print(
            f"{run:22} {before:6.1f} -> {after:6.1f} ms ({before / after:.2f}), "
            f"{many:7.0f} -> {few:7.0f} page faults a step"
        )


def child():
    import torch
    from torch import nn

    from tsforecast.nn.cells import CellStack
    from tsforecast.nn.training import Training, train

    class Network(nn.Module):
        def __init__(self, origins):
            super().__init__()
            self.cells, self.out = CellStack(8, (64, 64)), nn.Linear(64, 5)
            self.side_by_side = self.cells.side_by_side
            self.origins = origins

        def noise(self, batch):
            return ()

        def loss(self, x, z, noise=()):
            states, _ = self.cells(x)
            loss = (self.out(states[:, -self.origins :]) - z).square().mean(-1)
            return loss, torch.ones_like(loss)

    class Batches:
        def __init__(self, batch, steps):
            self.batch, self.steps = batch, steps

        def __iter__(self):
            return iter([self.batch] * self.steps)

        def __len__(self):
            return self.steps

    def raw(network, batches):
        torch.set_num_threads(1)
        optimiser = torch.optim.AdamW(network.parameters())
        for batch in batches:
            optimiser.zero_grad()
            network.loss(*batch)[0].mean().backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimiser.step()

    def ours(network, batches):
        torch.set_num_threads(2)
        train(network, batches, None, Training(max_epochs=1))

    ours(Network(1), Batches((torch.zeros(8, 9, 8), torch.zeros(8, 1, 5)), 1))  # imports
    for which, windows, rows, origins, steps in RUNS:
        batch = torch.randn(windows, rows, 8), torch.randn(windows, origins, 5)
        costs = []
        for _ in range(3):
            begin, faults = time.process_time(), _page_faults()
            (raw if which == "raw" else ours)(Network(origins), Batches(batch, steps))
            costs.append((1e3 * (time.process_time() - begin), _page_faults() - faults))
        cpu, faults = (median(column) / steps for column in zip(*costs))
        print(which, windows, rows, origins, steps, f"|{cpu}|{faults}")


def _page_faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


if __name__ == "__main__":
    child() if sys.argv[1:] == ["child"] else main()

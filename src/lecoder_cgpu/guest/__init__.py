"""Runs on the runtime: the helper, the programs that it starts, and the guards that outlive it.

* The helper: `service` answers our calls, `store` and `runs` know the runs, `progress` reads percentages from their
  output, `report` measures GPUs, memory and disks, `state_files` reads and writes the documents of runs. `pieces` puts
  text together that is too long for one message.
* Processes: `supervisor` starts and watches one, with the variables of `environment`; `output_streams` carries its
  output, `pushes` and `hub_pushes` (by `hub_upload`; for both, `pushed_files`) copy results elsewhere, `placing` puts
  files in place when a run starts, and `output_order` tells which stream came first; `limits` says when it has had its
  time, `usage` notes what it uses (`memory`: what the machine has), `processes` tells it from others, `run_processes`
  finds and ends everything that a run started.
* Kernels: `recorders` has a `recorder` for each, which keeps what it publishes as a `recording`; `kernel_sockets` are
  the connections to it, `reply_notes` has it publish its replies, `executor` gives it jobs, one after the other.
  `last_words` has it keep what it prints where its death leaves it, `last_messages` are those that it has left then.
  `late_ends` holds the end of a run back that may not be whole.
  `adopted` finds what a helper that died was recording, and `kernel_children` what a kernel's code has started.
* Files: `files` answers requests, `trees` lists folders, `beneath` never works outside of one, `packs` and `unpacker`
  carry many small files, `aside` has `aside_server` answer at low priority what must not slow the work.
* Programs of their own: `programs` starts the supervisor and `lease_guard`, which ends work and releases the runtime;
  `leftovers` tells both whether what ended runs left in the background is at work. `hub_activity` tells a JupyterHub
  that work goes on, `kernel_activity` the kernel's server. Without the helper, `notebook_driver` runs a notebook,
  `installer` installs packages, `port_tunnel` is the far end of forwarded ports, and `item_folder` gives each item of a
  sweep a folder of its own. In a kernel, `remote_call` calls a remote function.
Sent there as source by `helper/bootstrap.py`, so it is written for Python 3.8, the standard library and pyzmq. What
Colab's machines have is protocol C38.
Who may use it: `helper/` packs it; `files/` lists, packs and unpacks with it on this machine, too.
Never here: an import from outside this package, anything newer than Python 3.8, a third-party library.
"""

"""The process that holds a model: llama.cpp and its HTTP server, from the extra `local-llm`.

The only module that imports xllamacpp, and a process of its own, so that neither a crash in native code nor a processor
it was not built for takes anything else down. It serves on loopback, one question at a time, and ends on SIGTERM, on
SIGINT, or when whoever started it has gone (its standard input ends).

    python -m harness.llm.engine '{"path": …}'          # an `EngineOptions` as JSON
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from typing import Any

from harness.llm.options import EngineOptions

SEED = 42
LONGEST_EMBEDDED = 2_048
"""Tokens of a text that is to be one vector, at most: it must go through the model in one piece. A runbook's passage
has up to 600 characters and 240 of titles, each of which may be some tokens in a script that the model hardly knows."""
ENDS = {signal.SIGTERM, signal.SIGINT}


def main(options: EngineOptions) -> int:
    """Serve until told to end; return the exit code. What goes wrong while loading, the library writes to the log."""
    import xllamacpp

    signal.pthread_sigmask(signal.SIG_BLOCK, ENDS)  # threads of the library inherit it: the signal waits for us
    threading.Thread(target=_end_with_starter, daemon=True).start()
    try:
        server = xllamacpp.Server(parameters(xllamacpp, options))
    except RuntimeError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    signal.sigwait(ENDS)
    del server  # ends its threads
    return 0


def parameters(library: Any, options: EngineOptions) -> Any:
    """Return the library's parameters for a server that answers the same every time."""
    wanted = library.CommonParams()
    wanted.model.path = options.path
    wanted.model_alias = {options.alias}
    wanted.n_ctx = options.context
    wanted.n_parallel = 1
    wanted.cpuparams.n_threads = wanted.cpuparams_batch.n_threads = options.threads
    wanted.hostnames = ["127.0.0.1"]
    wanted.port = options.port
    wanted.ui = False
    wanted.endpoint_slots = False
    wanted.cors_origins = ""  # pages in a browser have no business here
    wanted.cache_ram_mib = 0
    wanted.sampling.temp = 0.0
    wanted.sampling.seed = SEED
    wanted.embedding = options.embeddings
    if options.embeddings:
        wanted.n_batch = wanted.n_ubatch = min(options.context, LONGEST_EMBEDDED)
    if options.pooled:
        wanted.pooling_type = library.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    wanted.verbosity = 2
    return wanted


def _end_with_starter() -> None:
    while os.read(0, 4_096):
        pass
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main(EngineOptions.decode(sys.argv[1].encode())))

"""The graph of every package: products with 4- and 8-bit weights, everything else in float32."""

import json

from tinsmith.core.run_dir import write_text
from tinsmith.export.decoder_graph import build_decoder
from tinsmith.export.decoder_plan import decoder_plan
from tinsmith.export.graphs.sources import Source
from tinsmith.export.package import save_graph
from tinsmith.export.parity import Logits, Probe
from tinsmith.model.package_format import DECODER_PLAN_FILE, FLOAT32


def build(source: Source, max_chunk_bytes: int) -> None:
    """Write the graph, its plan, and the weights of all graphs in files of at most `max_chunk_bytes` each."""
    path = source.package_dir / FLOAT32.file
    save_graph(build_decoder(source.decoder, source.weights), path, max_chunk_bytes)
    plan = json.dumps(decoder_plan(path), separators=(",", ":"))
    write_text(source.package_dir / DECODER_PLAN_FILE, plan)


def check(source: Source, probe: Probe, expected: Logits) -> Logits:
    """Require that the graph computes `expected`, the logits of the quantized model; returns the graph's logits."""
    logits = probe.graph_logits(source.package_dir / FLOAT32.file)
    source.gates.require_same("int4", expected, logits)
    return logits

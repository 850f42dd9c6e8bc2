"""The export stage: turns the tuned model into a browser package of INT4 weights and verified graphs."""

import time
from pathlib import Path

from tinsmith.core.config import ExportConfig
from tinsmith.core.device import choose_device
from tinsmith.core.run_dir import write_json
from tinsmith.core.stage_context import StageContext, Summary
from tinsmith.derive.export import SIZE_RULES
from tinsmith.derive.files import Files
from tinsmith.derive.inventory import write_inventory
from tinsmith.derive.private import PACKAGE_RULES
from tinsmith.derive.rules import record
from tinsmith.export.browser_facts import browser_facts
from tinsmith.export.calibration_set import calibration_conversations, default_calibration_tokens, read_conversations
from tinsmith.export.gguf import export_gguf
from tinsmith.export.graphs.sources import Source
from tinsmith.export.models import StoredWeights, quantized_weights
from tinsmith.export.package import check_package, complete_package, weights_bytes
from tinsmith.export.package_graphs import build_graphs, check_graphs
from tinsmith.export.parity import Gates, Probe
from tinsmith.export.reference import check_full_precision, quantized_logits
from tinsmith.export.report import export_record
from tinsmith.export.search import choose_recipe, record_trials
from tinsmith.model.families import decoder_of
from tinsmith.model.load import load_model_config
from tinsmith.model.package_format import BROWSER_FILE
from tinsmith.model.tokens import load_tokenizer


def export_int4(config: ExportConfig, data_dir: Path, merge_dir: Path, out_dir: Path, context: StageContext) -> Summary:
    """Write `package/` (what Transformers.js loads) and `export.json` (how it was made).

    Raises:
        GateError: a graph does not compute what the Transformers model computes, or no recipe is good enough.
    """
    started = time.monotonic()
    recorder = context.recorder
    gates = Gates(recorder, out_dir)
    model_dir, package_dir = merge_dir / "model", out_dir / "package"
    tokenizer = load_tokenizer(model_dir)
    train, val = read_conversations(tokenizer, data_dir, out_dir, context.seed)
    decoder = decoder_of(load_model_config(model_dir))
    parameters = StoredWeights(model_dir).count
    probe = Probe.of(decoder, train)
    check_full_precision(gates, model_dir, decoder, probe, out_dir / "full_precision")

    device = choose_device()
    calibration_tokens = config.calibration_tokens or default_calibration_tokens(parameters, device)
    calibration = calibration_conversations(train, calibration_tokens)
    choice = choose_recipe(config, model_dir, device, calibration, val, context)
    record_trials(recorder, config, choice, val, out_dir, context.seed)

    weights = quantized_weights(model_dir, choice.model)
    source = Source(package_dir, decoder, weights, parameters, calibration, gates)
    notes = build_graphs(source, config)
    write_json(package_dir / BROWSER_FILE, browser_facts(package_dir, tokenizer))
    complete_package(package_dir, model_dir, tokenizer.end_ids)
    check_package(package_dir)
    check_graphs(source, probe, quantized_logits(model_dir, choice.model, probe))
    if config.gguf:
        export_gguf(recorder, model_dir, out_dir, config.gguf)

    write_inventory(package_dir, out_dir)
    description = export_record(source, config, choice, calibration_tokens)
    write_json(out_dir / "export.json", description | {"seconds": time.monotonic() - started})
    record(recorder, SIZE_RULES, Files.of_stage("export", out_dir))
    record(recorder, PACKAGE_RULES, Files.of_stages({"export": out_dir, "data": data_dir}))
    size = weights_bytes(package_dir)
    return (
        f"INT4 package: {size / 1e6:.1f} MB of weights, {8 * size / parameters:.2f} bits per parameter",
        str(choice.trials[-1]),
        *notes,
    )

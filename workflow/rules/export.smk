# export: a fitted model to ONNX, and the parity gate.
#   reads   training/{model}/
#   writes  models/{model}/


checkpoint export_onnx:
    """Export one model and compare it with what was fitted; over the limit it fails."""
    input:
        fit=own_fit_manifest,
    output:
        manifest="<results>/models/{model}/manifest.json",
    log:
        "<logs>/export_onnx/{model}.log",
    benchmark:
        "<benchmarks>/export_onnx/{model}.tsv"
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=memory,
        runtime=60,
    params:
        settings=export_settings,
    script:
        "../../scripts/export_onnx.py"

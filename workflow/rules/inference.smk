# inference: run one model's ONNX over every source of a group.
#   reads   catalogues/features/, models/{model}/; where the model looks at pixels, the survey's images
#   writes  catalogues/{model}/


rule inference_run:
    """Classify one group's sources with one model."""
    input:
        features=f"<results>/catalogues/features/groups/{CHAIN.features_settings}/{{group}}.json",
        onnx=onnx_file,
        images=looked_at_images,
    output:
        manifest="<results>/catalogues/{model}/groups/{settings}/{group}.json",
    log:
        "<logs>/inference_run/{model}-{settings}/{group}.log",
    benchmark:
        "<benchmarks>/inference_run/{model}-{settings}/{group}.tsv"
    conda:
        "../../envs/cpu.yaml"
    threads: 16
    resources:
        mem_mb=memory,
        runtime=120,
        gpu=CHAIN.inference_gpus,
    script:
        "../../scripts/inference_run.py"

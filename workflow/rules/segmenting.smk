# segmenting: models that find sources themselves, fitted on rendered sky and run over the survey's images.
#   reads   the survey's images
#   writes  training/{segmenter}/, models/{segmenter}/, catalogues/{segmenter}/


rule segmenter_fit:
    """Render sky, fit a segmenter on it and judge it by other sky; no survey has a part in it."""
    output:
        manifest="<results>/training/{segmenter}/{fit}/manifest.json",
    log:
        "<logs>/segmenter_fit/{segmenter}-{fit}.log",
    benchmark:
        "<benchmarks>/segmenter_fit/{segmenter}-{fit}.tsv"
    # It waits for nothing and has one thread: begun first, it would keep jobs that want all cores waiting.
    priority: -1
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=memory,
        runtime=480,
    script:
        "../../scripts/segmenter_fit.py"


checkpoint segmenter_export:
    """Export one segmenter and compare it with what was fitted; over the limit it fails."""
    input:
        fit=own_segmenter_fit,
    output:
        manifest="<results>/models/{segmenter}/manifest.json",
    log:
        "<logs>/segmenter_export/{segmenter}.log",
    benchmark:
        "<benchmarks>/segmenter_export/{segmenter}.tsv"
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=memory,
        runtime=60,
    params:
        settings=segmenter_export_settings,
    script:
        "../../scripts/segmenter_export.py"


rule segmenter_measure:
    """Find sources with one segmenter on one group's image tiles, and measure them."""
    input:
        group=image_group_file,
        onnx=segmenter_file,
    output:
        manifest="<results>/catalogues/{segmenter}/groups/{settings}/{group}.json",
    log:
        "<logs>/segmenter_measure/{segmenter}-{settings}/{group}.log",
    benchmark:
        "<benchmarks>/segmenter_measure/{segmenter}-{settings}/{group}.tsv"
    conda:
        "../../envs/cpu.yaml"
    threads: 16
    resources:
        mem_mb=memory,
        runtime=240,
    script:
        "../../scripts/segmenter_measure.py"

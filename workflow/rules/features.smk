# features: sources found and measured on images; what models learn from, one row a source.
#   reads   the survey's images, catalogues/sources/
#   writes  catalogues/segmentation/, catalogues/features/


rule features_measure:
    """Find and measure the sources of one group's image tiles."""
    input:
        group=image_group_file,
    output:
        manifest=f"<results>/catalogues/segmentation/groups/{CHAIN.segmentation_settings}/{{group}}.json",
    log:
        "<logs>/features_measure/{group}.log",
    benchmark:
        "<benchmarks>/features_measure/{group}.tsv"
    conda:
        "../../envs/cpu.yaml"
    threads: 16
    resources:
        mem_mb=memory,
        runtime=240,
    script:
        "../../scripts/features_measure.py"


rule features_compute:
    """Compute the features of one group's sources."""
    input:
        sources=f"<results>/catalogues/sources/groups/{CHAIN.sources_settings}/{{group}}.json",
    output:
        manifest=f"<results>/catalogues/features/groups/{CHAIN.features_settings}/{{group}}.json",
    log:
        "<logs>/features_compute/{group}.log",
    benchmark:
        "<benchmarks>/features_compute/{group}.tsv"
    conda:
        "../../envs/cpu.yaml"
    threads: 16
    resources:
        mem_mb=memory,
        runtime=120,
    script:
        "../../scripts/features_compute.py"

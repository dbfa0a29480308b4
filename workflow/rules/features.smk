# features: what models learn from, one row a source.
#   reads   catalogues/sources/
#   writes  catalogues/features/


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

# release: seal what the groups hold as one version of a catalogue.
#   reads   catalogues/{catalogue}/groups/
#   writes  catalogues/{catalogue}/versions/, catalogues/{catalogue}/current.json


rule release_seal:
    """Seal one catalogue: check that nothing is missing and that every source is accounted for."""
    input:
        manifests=catalogue_manifests,
        sources=source_manifests,
        plan="<results>/tiling/plan.json",
        # Not read: it makes Snakemake look again at the manifests once the model has been exported.
        model=own_export_manifest,
    output:
        current="<results>/catalogues/{catalogue}/current.json",
    log:
        "<logs>/release_seal/{catalogue}.log",
    benchmark:
        "<benchmarks>/release_seal/{catalogue}.tsv"
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=memory,
        runtime=60,
    script:
        "../../scripts/release_seal.py"

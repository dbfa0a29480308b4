# release: seal what the groups hold as one version of a catalogue.
#   reads   catalogues/{catalogue}/groups/
#   writes  catalogues/{catalogue}/versions/, catalogues/{catalogue}/seal.json, catalogues/{catalogue}/current.json


rule release_seal:
    """Seal one catalogue: check that nothing is missing and that every source is accounted for."""
    input:
        manifests=catalogue_manifests,
        sources=source_manifests,
        features=upstream_features,
        plan=named_plan,
        # Not read: it makes Snakemake look again at the manifests once the model has been exported.
        model=own_export_manifest,
    output:
        # Not `current.json`, which readers open: Snakemake deletes an output before its job starts and when it fails.
        seal="<results>/catalogues/{catalogue}/seal.json",
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

# release: seal what the groups hold as one version of a catalogue; publish a finished run.
#   reads   catalogues/{catalogue}/groups/; release_publish also models/, training/, report/
#   writes  catalogues/{catalogue}/versions/, catalogues/{catalogue}/seal.json, catalogues/{catalogue}/current.json;
#           release_publish releases/{release}/, release/{release}.json


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


rule release_publish:
    """Compare a finished run with the current release, hold it against the gate, and publish it."""
    input:
        *EVERY_STAGE,
        page="<results>/report/index.html",
    output:
        # Not the release itself: nothing that is published may be deleted by Snakemake.
        summary="<results>/release/{release}.json",
    log:
        "<logs>/release_publish/{release}.log",
    benchmark:
        "<benchmarks>/release_publish/{release}.tsv"
    conda:
        "../../envs/cpu.yaml"
    threads: 16
    resources:
        mem_mb=memory,
        runtime=240,
    script:
        "../../scripts/release_publish.py"


rule release:
    """Publish under the name that `--config release=DR2` gives."""
    input:
        *EVERY_STAGE,
        named_release,

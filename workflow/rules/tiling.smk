# tiling: plan image tiles; count the survey's sources, plan HEALPix tiles and groups, sort the sources into them.
#   reads   the survey's images or tables, catalogues/segmentation/
#   writes  tiling/images.json, tiling/plan.json, each with a copy named by its digest, catalogues/sources/


checkpoint tiling_images:
    """Read where the survey's image tiles lie and put them into groups; no pixel is decoded."""
    output:
        images="<results>/tiling/images.json",
        named=named_images,
    log:
        "<logs>/tiling_images.log",
    benchmark:
        "<benchmarks>/tiling_images.tsv"
    conda:
        "../../envs/cpu.yaml"
    threads: 4
    resources:
        mem_mb=memory,
        runtime=60,
    params:
        name=CHAIN.images_name,
    script:
        "../../scripts/tiling_images.py"


checkpoint tiling_plan:
    """Read the survey once: count sources, plan tiles and groups, spill rows by group."""
    input:
        measured=segmentation_manifests,
    output:
        plan="<results>/tiling/plan.json",
        named=named_plan,
    log:
        "<logs>/tiling_plan.log",
    benchmark:
        "<benchmarks>/tiling_plan.tsv"
    conda:
        "../../envs/cpu.yaml"
    threads: 16
    resources:
        mem_mb=memory,
        runtime=240,
    params:
        data=CHAIN.survey_digest,
        settings=CHAIN.plan_settings,
    script:
        "../../scripts/tiling_plan.py"


rule tiling_partition:
    """Sort one group's sources into its tiles."""
    input:
        group=group_file,
    output:
        manifest=f"<results>/catalogues/sources/groups/{CHAIN.sources_settings}/{{group}}.json",
    log:
        "<logs>/tiling_partition/{group}.log",
    benchmark:
        "<benchmarks>/tiling_partition/{group}.tsv"
    conda:
        "../../envs/cpu.yaml"
    threads: 16
    resources:
        mem_mb=memory,
        runtime=120,
    script:
        "../../scripts/tiling_partition.py"

# tiling: count the survey's sources, plan HEALPix tiles and groups, sort the sources into them.
#   reads   the survey's tables
#   writes  tiling/plan.json, tiling/plan-{digest12}.json, catalogues/sources/


checkpoint tiling_plan:
    """Read the survey once: count sources, plan tiles and groups, spill rows by group."""
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

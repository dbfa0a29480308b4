# report: one page a person reads.
#   reads   the seals, the plan, the models' manifests, the fits' metrics, predictions and histories, the benchmarks
#   writes  report/index.html


rule report_page:
    """Draw the run: how good the models are, what the sky looks like, where every row went."""
    input:
        seals=seals,
        models=export_manifests,
    output:
        page=report(
            "<results>/report/index.html", caption="../report/page.rst", category="Run"
        ),
    log:
        "<logs>/report_page.log",
    benchmark:
        "<benchmarks>/report_page.tsv"
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=memory,
        runtime=60,
    params:
        maps=CHAIN.maps_digest,
    script:
        "../../scripts/report_page.py"

# report: pages a person reads, and plots for `snakemake --report`.
#   reads   the seals, the plan, the models' manifests, the fits' metrics, predictions and histories, how the survey
#           differs from the training rows, the benchmarks, the survey's maps; of a survey of images what was measured on
#           them, and a few of them for pictures
#   writes  report/index.html, report/model-{model}.html, report/plots/; of images report/images.html, report/images.json


rule report_page:
    """Draw the run: how good the models are, what the sky looks like, where every row went."""
    input:
        seals=seals,
        models=export_manifests,
        shifts=shifts,
        compared=compared_manifests,
    output:
        page=shown("index.html", "page", "Run", page="overview"),
        models=report_pages(),
        images=report_images(),
        plots=report_plots(),
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

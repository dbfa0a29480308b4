# report: pages a person reads, and plots for `snakemake --report`.
#   reads   the seals, the plan, the models' manifests, the fits' metrics, predictions and histories, the benchmarks,
#           the survey's maps
#   writes  report/index.html, report/model-{model}.html, report/plots/


def model_pages():
    return [
        report(
            f"<results>/report/model-{model}.html",
            caption="../report/model.rst",
            category="Run",
            labels={"page": model},
        )
        for model in CHAIN.models
    ]


def model_plots():
    return [
        report(
            f"<results>/report/plots/{model}-{plot}.svg",
            caption=f"../report/{plot}.rst",
            category="Models",
            labels={"model": model, "plot": plot},
        )
        for model in CHAIN.trained_models
        for plot in ("confusion", "calibration", "magnitude", "thresholds")
    ]


def sky_plots():
    return [
        report(
            f"<results>/report/plots/sky-{plot}.svg",
            caption=f"../report/{plot}.rst",
            category="Sky",
            labels={"map": plot},
        )
        for plot in ("density", "entropy")
        if CHAIN.models
    ]


rule report_page:
    """Draw the run: how good the models are, what the sky looks like, where every row went."""
    input:
        seals=seals,
        models=export_manifests,
    output:
        page=report(
            "<results>/report/index.html",
            caption="../report/page.rst",
            category="Run",
            labels={"page": "overview"},
        ),
        models=model_pages(),
        plots=[*model_plots(), *sky_plots()],
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

#!/usr/bin/env bash
# A release by Slurm's own cron. In `scrontab -e`:
#
#   #SCRON --time=2-00:00:00 --mem=4G --cpus-per-task=2 --job-name=skymill-release
#   0 2 * * 2  /path/to/scrontab.sh /path/to/skymill /path/to/run
#
# This job only watches; the work goes to the cluster through profiles/slurm. It ends with 0 when the release was
# published or nothing was new, 4 when the gate refused, 1 when anything else went wrong.
set -uo pipefail
skymill=${1:?the folder of skymill}
run=${2:?the folder of the run}
cd "$run" || exit 1
PATH="$skymill/.venv/bin:$PATH"
name=$(date +%F)
snakemake release --snakefile "$skymill/Snakefile" --profile "$skymill/profiles/slurm" \
    --configfile config.yaml --config "release=$name"
made=$?
skymill release status "$name"
told=$?
exit $((told ? told : made))

#!/bin/sh
# Runs fuzz targets: run.sh FOLDER SECONDS report|check TARGET...
# FOLDER has target/, corpus/ and seed/. check tells findings alone; report prints a table too.
set -u

folder=$1
seconds=$2
mode=$3
shift 3

mkdir -p "$folder/log" "$folder/finding"
[ "$mode" = report ] && printf '%-10s %11s %9s %9s %9s %9s\n' target executions 'a second' edges features findings
failed=0
for target in "$@"; do
	log=$folder/log/$target.log
	nice -n 19 "$folder/target/$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 \
		-print_final_stats=1 -verbosity=1 -artifact_prefix="$folder/finding/$target-" \
		"$folder/corpus/$target" "$folder/seed/$target" >"$log" 2>&1
	status=$?
	if [ "$mode" = report ]; then
		awk -v target="$target" -v found="$status" '
			/^stat::number_of_executed_units/ { executions = $2 }
			/^stat::average_exec_per_sec/ { rate = $2 }
			/ cov: / { for (i = 1; i < NF; i++) { if ($i == "cov:") cov = $(i + 1); if ($i == "ft:") ft = $(i + 1) } }
			END { printf "%-10s %11d %9d %9d %9d %9d\n", target, executions, rate, cov, ft, found != 0 }' "$log"
	fi
	[ "$status" -eq 0 ] && continue
	failed=1
	finding=$(sed -n 's/.*Test unit written to //p' "$log" | tail -n 1)
	{
		echo "Fuzz target $target found something (all of it: $log):"
		grep -E 'not so:|ERROR:|runtime error:|SUMMARY:|^spec/fuzz' "$log" | head -n 8
		[ -z "$finding" ] || echo "Again: $folder/target/$target $finding"
	} >&2
done
exit "$failed"
